"""The result of a replay as a file: a summary, and one line for each change of the ranking; zstd-compressed JSON lines."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cramjam
import msgspec

from pipeline.replay.engine import RankMove, Replayed
from pipeline.replay.log_file import UnreadableLog
from schemas.time import Instant

ZSTD = b"\x28\xb5\x2f\xfd"
FORMAT = "readfirst-replay/1"
_LINES = 2_000


class Move(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of the ranking, as it is kept. due_before None: the study was not listed. group: its class in a summary ("stat CT")."""

    at: Instant
    study: str
    patient: str
    due_before: Instant | None = None
    due_at: Instant
    target_at: Instant
    closed: str | None = None
    cause: str
    event_id: str
    why: str
    what: str = ""
    group: str = ""
    accession: str | None = None
    degraded: bool = False

    @classmethod
    def of(cls, move: RankMove) -> Self:
        """What of a change is kept."""
        item, study = move.item, move.item.study
        return cls(
            at=move.at,
            study=study.study_uid,
            patient=item.patient,
            due_before=move.due_before,
            due_at=item.due_at,
            target_at=item.target_at,
            closed=study.closed,
            cause=move.cause,
            event_id=move.event_id,
            why=item.why,
            what=" ".join(part for part in (study.modality, study.body_part or study.description) if part),
            group=study.priority or "no priority",
            accession=study.accession,
            degraded=item.degraded,
        )


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a replay came to. log: the file's name; policy, scorer: by which rules and scores."""

    format: str = FORMAT
    log: str
    policy: str
    scorer: str
    digest: str
    state_digest: str
    rules_digest: str
    events: int
    moves: int
    applied: int
    ignored: dict[str, int]
    dead_lettered: dict[str, int]
    open: int
    until: Instant | None = None
    escalations: list[Any] = []


def summary(replayed: Replayed, log: str, policy: str, scorer: str) -> Summary:
    """Of a finished replay."""
    return Summary(
        log=log,
        policy=policy,
        scorer=scorer,
        digest=replayed.digest,
        state_digest=replayed.state_digest,
        rules_digest=replayed.rules_digest,
        events=replayed.events,
        moves=replayed.moves,
        applied=replayed.applied,
        ignored=replayed.ignored,
        dead_lettered=replayed.dead_lettered,
        open=len(replayed.items),
        until=replayed.until,
        escalations=[msgspec.to_builtins(step) for step in replayed.escalations],
    )


class SavedWriter:
    """Takes changes while they happen; `finish` adds the summary."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise UnreadableLog(f"{path} cannot be written: {error.strerror}") from error
        self._waiting: list[bytes] = []

    def add(self, move: RankMove) -> None:
        """The next change."""
        self._waiting.append(msgspec.json.encode(Move.of(move)))
        if len(self._waiting) >= _LINES:
            self._flush()

    def finish(self, found: Summary) -> None:
        """The last line is the summary."""
        self._waiting.append(msgspec.json.encode(found))
        self._flush()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def _flush(self) -> None:
        self._file.write(bytes(cramjam.zstd.compress(b"\n".join(self._waiting) + b"\n", level=6)))
        self._waiting.clear()


class Saved(msgspec.Struct, frozen=True):
    """A result, read or made."""

    summary: Summary
    moves: list[Move]

    @property
    def end(self) -> datetime | None:
        """When the last record was."""
        return self.summary.until


def is_saved(path: Path) -> bool:
    """Whether the file is a saved result, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(ZSTD)) == ZSTD
    except OSError as error:
        raise UnreadableLog(f"{path} cannot be read: {error.strerror}") from error


def read(path: Path) -> Saved:
    """Raises UnreadableLog."""
    try:
        lines = bytes(cramjam.zstd.decompress(path.read_bytes())).splitlines()
        moves = [_move.decode(line) for line in lines[:-1]]
        found = _summary.decode(lines[-1]) if lines else None
    except (OSError, cramjam.DecompressionError, msgspec.DecodeError) as error:
        raise UnreadableLog(f"{path} is no saved replay, or is damaged: {error}") from error
    if found is None or found.format != FORMAT:
        raise UnreadableLog(f"{path} is no saved replay that this program reads ({FORMAT})")
    return Saved(found, moves)


_move = msgspec.json.Decoder(Move)
_summary = msgspec.json.Decoder(Summary)
