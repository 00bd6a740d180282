"""Results as rows of text: what was measured, the figure, and what it means beside the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Row = tuple[str, str, str]
_BUILDS = {
    "readfirst": "Readfirst",
    "faust_table": "Faust Table (RocksDB), same domain code",
    "quix": "Quix Streams 3.28.1 (RocksDB), same domain code",
    "aiokafka": "bare aiokafka, decodes and does nothing: the limit",
}


def rows(name: str, result: dict[str, Any]) -> list[Row]:
    """The rows of one benchmark."""
    return list(_ROWS[name](result))


def markdown(figures: dict[str, Any]) -> str:
    """All figures, for the README."""
    return "\n\n".join(_section(name, figures[name]) for name in _TITLES if name in figures)


def _section(name: str, figure: dict[str, Any]) -> str:
    machine = figure["machine"]
    where = f"{machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, {machine['system']}"
    lines = [f"**{_TITLES[name]}** (`{figure['command']}`, {figure['date']}, {where})", "", "| | figure | |", "|---|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(name, figure["result"])]
    return "\n".join([*lines, *([] if name not in _NOTES else ["", _NOTES[name](figure["result"])])])


def _context(result: dict[str, Any]) -> Iterator[Row]:
    for build, words in _BUILDS.items():
        if build in result:
            ratio = result["ratios"].get(f"readfirst_to_{build}")
            beside = f"{result['events_per_cpu_second'][build]:,} a processor second"
            yield words, f"{result[build]:,} events/s", f"{beside}; Readfirst is {ratio} x" if ratio is not None else beside


def _context_note(result: dict[str, Any]) -> str:
    return (
        f"One worker, {result['events']:,} vital signs of {result['patients']:,} patients in 8 partitions; {result['open_share']:.0%} of "
        f"the patients have a study to be read, {result['assessments']:,} assessments sent; median of {result['runs']}. Readfirst keeps "
        "every event as a fact in Postgres (fsync) and a window of those with something to read; the others keep a window of each patient."
    )


_TITLES = {"context": "Context stage"}
_ROWS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {"context": _context}
_NOTES: dict[str, Callable[[dict[str, Any]], str]] = {"context": _context_note}
