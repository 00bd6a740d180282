"""Figures as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """A line a row, under the columns of the first; numbers to four digits. No row: a word that says so."""
    if not rows:
        yield "None."
        return
    yield f"| {' | '.join(rows[0])} |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows:
        yield f"| {' | '.join(f'{value:.4g}' if isinstance(value, float) else str(value) for value in row.values())} |"
