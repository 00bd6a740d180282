"""A replay that is put aside and taken up again: a file of its facts and its list, after which the records that follow give the same.

It is an event log whose records are the facts by topic, and one record of the topic `state` for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipeline.adapters.memory.context_store import Statement
from pipeline.domain.image_heads import Scope
from pipeline.ports import DegradedScore
from pipeline.replay.log_file import LoggedRecord, LogHeader, LogReader, LogWriter, UnreadableLog
from schemas.assessments import AssessRequest
from schemas.time import Instant
from schemas.worklist import WorklistItem

STATE = "state"
FORMAT = "readfirst-replay-state/1"


class StoredFact(msgspec.Struct, frozen=True, array_like=True):
    """A fact as the file keeps it. observation: it expires sooner."""

    patient: str
    topic: str
    body: bytes
    observation: bool


class State(msgspec.Struct, kw_only=True):
    """Everything but the facts. seen: "topic/partition" -> the last offset that went in; ends: topic -> records handed to the stages.

    heads: as LogHeader's, by which the replay went; None in states from before they stood here.
    """

    seen: dict[str, int]
    clock: Instant
    version: int
    open: list[WorklistItem]
    closed: list[WorklistItem]
    statements: dict[str, tuple[str | None, Instant, str]]
    chains: dict[str, bytes]
    total: str
    changes: int
    events: int
    counts: dict[str, dict[str, int]]
    requests: dict[str, AssessRequest]
    versions: dict[str, int]
    degraded: list[tuple[AssessRequest, str, int]]
    policy: str
    scorer: str
    heads: dict[str, Scope] | None = None

    def told(self) -> dict[str, Statement]:
        """The merges."""
        return {patient: Statement(*said) for patient, said in self.statements.items()}

    def scores(self) -> list[DegradedScore]:
        """Scores that are to be made again."""
        return [DegradedScore(*one) for one in self.degraded]


_decoder = msgspec.json.Decoder(State)


class StateWriter:
    """Writes one state."""

    def __init__(self, path: Path) -> None:
        self._writer = LogWriter(path, LogHeader(created_at=datetime.now(UTC), schemas={}, note=FORMAT))
        self._ends: dict[str, int] = {}

    def fact(self, fact: StoredFact) -> None:
        """One fact."""
        place = f"{fact.topic}"
        offset = self._ends[place] = self._ends.get(place, -1) + 1
        headers = {"observation": "1" if fact.observation else ""}
        self._writer.write(LoggedRecord(fact.topic, 0, offset, 0, fact.patient.encode(), fact.body, headers))

    def finish(self, state: State) -> None:
        """The rest, and the end of the file."""
        self._writer.write(LoggedRecord(STATE, 0, 0, 0, b"", msgspec.json.encode(state)))
        self._writer.close()


def read(path: Path) -> tuple[State, LogReader]:
    """The state, and the log to read the facts from (`facts`). Raises UnreadableLog, DamagedLog."""
    log = LogReader(path)
    if log.header.note != FORMAT:
        raise UnreadableLog(f"{path} is no state of a replay that this program reads ({FORMAT}); --save-state writes one")
    for number, chunk in enumerate(log.chunks):
        if chunk.topic == STATE:
            try:
                return _decoder.decode(log.read(number)[0].value or b""), log
            except msgspec.DecodeError as error:
                raise UnreadableLog(f"{path} was written by another version of this program: {error}") from error
    raise UnreadableLog(f"{path} holds no state")


def facts(log: LogReader) -> Iterator[StoredFact]:
    """All of them, in the order in which they were written."""
    for record in log:
        if record.topic != STATE:
            yield StoredFact(record.key.decode(), record.topic, record.value or b"", bool(record.headers.get("observation")))


def place_name(topic: str, partition: int) -> str:
    """The key of `State.seen`."""
    return f"{topic}/{partition}"


def is_seen(seen: Mapping[str, int], record: LoggedRecord) -> bool:
    """Whether the record went in before the state was written."""
    return record.offset <= seen.get(place_name(record.topic, record.partition), -1)
