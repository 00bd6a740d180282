"""What the parts of a running stack use: processor time and memory, each with all its processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from pipeline.adapters.local.state import status


def cpu_seconds(data: Path) -> dict[str, float]:
    """Part -> processor seconds since its start; ended children of a living process count too."""
    return {name: sum(_cpu_s(process) for process in family) for name, family in _families(data)}


def cores(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """Part -> how many cores it kept busy, the busiest first."""
    used = {name: round((after[name] - before.get(name, 0.0)) / seconds, 2) for name in after}
    return dict(sorted(used.items(), key=lambda item: -item[1]))


def memory_mib(data: Path) -> dict[str, dict[str, float]]:
    """Part -> rss, and pss where it may be read (shared pages counted once), MiB."""
    found = {}
    for name, family in _families(data):
        rss = sum(process.memory_info().rss for process in family)
        try:
            pss = sum(process.memory_full_info().pss for process in family)
        except (psutil.AccessDenied, AttributeError):
            pss = rss
        found[name] = {"rss": round(rss / 2**20, 1), "pss": round(pss / 2**20, 1)}
    return found


def _families(data: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    for part in status(data).parts:
        process = part.identity.process() if part.identity else None
        if process is not None:
            yield part.name, [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
