"""The list as it stood at a moment of a replay, row by row, and as a table that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.replay.names import meant_by
from pipeline.replay.times import Day
from schemas.worklist import WorklistItem


@dataclass(frozen=True, slots=True)
class Change:
    """An item from `at` on, and what brought it there."""

    at: datetime
    item: WorklistItem
    cause: str


@dataclass(frozen=True, slots=True)
class Names:
    """study UID -> what people call it. A study without a name is shown by what it is and the end of its UID."""

    known: Mapping[str, str] = field(default_factory=dict)

    def of(self, item: WorklistItem) -> str:
        """For a table."""
        study = item.study
        return self.known.get(study.study_uid) or f"{study.modality or '?'} {study.body_part or ''}".strip() + f" …{study.study_uid[-6:]}"

    def means(self, name: str, item: WorklistItem) -> bool:
        """Whether `name` is this study's: its name, its UID, or its accession or order number."""
        study = item.study
        if self.known.get(study.study_uid) == name:
            return True
        return not meant_by(name).isdisjoint((study.study_uid, study.accession, study.order))


@dataclass(frozen=True, slots=True)
class Row:
    """place: 1 is read first."""

    place: int
    item: WorklistItem


@dataclass(frozen=True, slots=True)
class ListThen:
    """The open studies at a moment, most urgent first."""

    at: datetime
    rows: Sequence[Row]
    day: Day
    names: Names

    def find(self, name: str) -> Row | None:
        """None where no open study is called so. Of several (two studies of one order) the most urgent."""
        return next((row for row in self.rows if self.names.means(name, row.item)), None)

    @property
    def order(self) -> list[str]:
        """The names, most urgent first."""
        return [self.names.of(row.item) for row in self.rows]

    def table(self, marked: Iterable[str] = ()) -> str:
        """One line a study: place, name, deadline and why; the marked ones with an arrow."""
        if not self.rows:
            return "  (nothing is to be read)"
        uids = {row.item.study.study_uid for name in marked if (row := self.find(name))}
        cells = [("#", "study", "due", "why")]
        cells += [(str(row.place), self.names.of(row.item), self.day.words(row.item.due_at), self._why(row.item)) for row in self.rows]
        widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
        marks = ["  ", *("> " if row.item.study.study_uid in uids else "  " for row in self.rows)]
        return "\n".join(
            f"{mark}{place:>{widths[0]}}  {name:<{widths[1]}}  {due:<{widths[2]}}  {why}"
            for mark, (place, name, due, why) in zip(marks, cells, strict=True)
        )

    def __str__(self) -> str:
        return self.table()

    def _why(self, item: WorklistItem) -> str:
        """Marked as degraded where others are not: by the rules alone, all are."""
        marked = item.degraded and not all(row.item.degraded for row in self.rows)
        return item.why + (" (degraded)" if marked else "")


def list_at(changes: Iterable[Change], at: datetime, day: Day, names: Names) -> ListThen:
    """As it was known at `at`; `changes` in the order in which they happened."""
    newest: dict[str, WorklistItem] = {}
    for change in changes:
        if change.at <= at:
            newest[change.item.study.study_uid] = change.item
    ranked = sorted((item for item in newest.values() if item.state != "closed"), key=lambda item: (item.due_at, item.study.study_uid))
    return ListThen(at, [Row(place, item) for place, item in enumerate(ranked, 1)], day, names)
