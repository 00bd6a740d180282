"""How long after a stage's stop the operators' page says so, and somebody is told by the shipped Prometheus rules and Alertmanager."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.adapters.local.process import Child, Launch
from pipeline.adapters.local.state import status
from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import servers
from pipeline.benchmarks.monitoring import Receiver, ask, programs, wait_for, watching
from pipeline.errors import StackError

STAGE, ROLE, ALERT = "context", "agent-context", "ReadfirstStageBehind"
FIRES_WITHIN_S = 120.0
"""Longer than is asked for, so that a figure which misses is a figure all the same."""
RESOLVES_WITHIN_S = 180.0


def measure(rounds: int, progress: Progress) -> dict[str, Any]:
    """The whole stack under the demo's stream; the context agent is stopped (SIGSTOP) in each round. Raises StackError."""
    programs()
    found: list[dict[str, float]] = []
    with servers.folder() as data, servers.stack(data, progress) as settings, _stream(data):
        (data / "watch").mkdir()
        with watching(data / "watch", data / "run" / "prometheus.json") as watch:
            page = f"http://{settings.web.host}:{settings.web.port}/api/ops"
            wait_for(lambda: ask(page)["conditions"] == [], RESOLVES_WITHIN_S, "the page is not calm")
            for _ in range(rounds):
                found.append(_round(data, page, watch.receiver))
                progress("stop", ", ".join(f"{what} {seconds:.1f} s" for what, seconds in found[-1].items()))
    return summary(found)


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """Each figure's median and worst over the rounds, seconds."""
    told = {what: [each[what] for each in found] for what in found[0]}
    return {
        "stage": STAGE,
        "rounds": len(found),
        **{f"{what}_s": {"median": round(median(each), 1), "worst": round(max(each), 1)} for what, each in told.items()},
    }


def _round(data: Path, page: str, receiver: Receiver) -> dict[str, float]:
    """Seconds from the stop to the page and to the alert, and from the worker's going on to the alert's end."""
    (pid,) = [part.identity.pid for part in status(data).parts if part.name == ROLE and part.identity]
    stopped = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: ask(page)["conditions"], FIRES_WITHIN_S, "the page shows nothing")
        shown = time.monotonic()
        first = wait_for(lambda: receiver.since(stopped, "firing"), FIRES_WITHIN_S, "nobody was told")[0]
    finally:
        with suppress(ProcessLookupError):  # the supervisor puts another in its place after a while
            os.kill(pid, signal.SIGCONT)
    if (first.alert, first.stage) != (ALERT, STAGE):
        raise StackError(f"the first alert was {first.alert} of {first.stage or 'no stage'}", "something else is amiss: measure again")
    again = time.monotonic()
    ended = wait_for(lambda: receiver.since(again, "resolved"), RESOLVES_WITHIN_S, "the alert does not end")[0]
    wait_for(lambda: ask(page)["conditions"] == [], RESOLVES_WITHIN_S, "the page does not become calm")
    return {"page": shown - stopped, "alert": first.at - stopped, "resolved": ended.at - again}


@contextmanager
def _stream(data: Path) -> Iterator[None]:
    """The demo's hospital, until the block ends."""
    argv = [sys.executable, "-m", "pipeline.cli", "demo", "--data", str(data)]
    demo = Child(Launch(argv, data / "log" / "demo.log", dict(os.environ)))
    try:
        yield
    finally:
        demo.stop()
