"""Which records may go through the stages together, so that the history is the same as if each had gone alone.

A patient with something to read is in a wave once at most, and so is one whose record may give them something to read; everybody else's
records leave no trace in the ranking. Merges and events of merged patients touch several patients: each goes alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from pipeline.adapters.memory.context_store import Statement, survivor_of
from pipeline.replay.log_file import LoggedRecord
from pipeline.replay.stages import Arrived
from schemas.topics import ADT, ASSESSMENTS, BY_NAME, LABS, VITALS

_QUIET = frozenset({LABS.name, VITALS.name, ADT.name})
"""Records of these never give a patient something to read who had nothing."""


class _Peek(msgspec.Struct):
    subject: str | None = None


_peek = msgspec.json.Decoder(_Peek)


@dataclass(slots=True)
class Wave:
    """records, times: in order; scores: recorded assessments. patients: whoever is in it; woken: with a record that may wake them."""

    records: list[Arrived] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    scores: list[LoggedRecord] = field(default_factory=list)
    patients: set[bytes] = field(default_factory=set)
    woken: set[bytes] = field(default_factory=set)
    alone: bool = False
    last: int = 0
    """Kafka's time of its newest record."""

    def __len__(self) -> int:
        return len(self.records) + len(self.scores)

    def fits(self, record: LoggedRecord, alone: bool, watched: Collection[bytes]) -> bool:
        """Whether the record may join."""
        if not len(self):
            return True
        if alone or self.alone:
            return False
        key = record.key
        if key not in self.patients:
            return True
        return record.topic in _QUIET and key not in watched and key not in self.woken

    def add(self, record: LoggedRecord, alone: bool) -> None:
        """Joins."""
        self.alone = alone
        self.last = max(self.last, record.timestamp)
        self.patients.add(record.key)
        if record.topic not in _QUIET:
            self.woken.add(record.key)
        if record.topic == ASSESSMENTS.name:
            self.scores.append(record)
        else:
            self.times.append(record.timestamp)
            self.records.append(Arrived(BY_NAME[record.topic], record.key, record.value or b"", record.headers))


def goes_alone(record: LoggedRecord, statements: Mapping[str, Statement]) -> bool:
    """Whether the record concerns more patients than its key names."""
    body = record.value or b""
    if record.topic == ADT.name and b'erge"' in body:
        return True
    if not statements:
        return False
    named = record.key.decode(errors="replace")
    if b'"subject"' in body:
        named = _subject(body) or named
    return survivor_of(named, statements) != record.key.decode(errors="replace")


def _subject(body: bytes) -> str | None:
    try:
        return _peek.decode(body).subject
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
