"""A ranking as text beside the test, and what has moved since it was written, study by study."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.replay.past import ListThen
from pipeline.replay.played import ordinal

_COLUMNS = re.compile(r"\s{2,}")


@dataclass(frozen=True, slots=True)
class _Line:
    place: int
    due: str
    why: str


def text_of(then: ListThen) -> str:
    """The list as it stood, in the form in which it is kept."""
    return f"The list at {then.day.words(then.at)} on {then.at.astimezone(then.day.zone):%Y-%m-%d} ({then.day.zone.key})\n\n{then}\n"


def difference(before: str, after: str) -> str:
    """What moved, and both lists."""
    old, new = _lines(before), _lines(after)
    moved = [*_moves(old, new)] or ["the time or the form of the list is another"]
    return "\n".join([*(f"  {line}" for line in moved), "", "as it was:", before.rstrip(), "", "as it is:", after.rstrip()])


def _moves(old: dict[str, _Line], new: dict[str, _Line]) -> Iterator[str]:
    for name, line in new.items():
        was = old.get(name)
        if was is None:
            yield f"{name}: new on the list, {ordinal(line.place)}, due {line.due}: {line.why}"
        elif was != line:
            yield f"{name}: {', '.join(_changes(was, line))}"
    for name, line in old.items():
        if name not in new:
            yield f"{name}: no longer on the list (was {ordinal(line.place)})"


def _changes(was: _Line, line: _Line) -> Iterator[str]:
    if was.place != line.place:
        direction = "up" if line.place < was.place else "down"
        yield f"{direction} from {ordinal(was.place)} to {ordinal(line.place)}"
    if was.due != line.due:
        yield f"due {line.due} instead of {was.due}"
    if was.why != line.why:
        yield f'because of "{line.why}" instead of "{was.why}"'


def _lines(text: str) -> dict[str, _Line]:
    """Study -> its line of the table."""
    found = {}
    for line in text.splitlines():
        cells = _COLUMNS.split(line.strip(), maxsplit=3)
        if len(cells) == 4 and cells[0].isdecimal():
            found[cells[1]] = _Line(int(cells[0]), cells[2], cells[3])
    return found
