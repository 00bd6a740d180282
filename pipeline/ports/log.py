"""The clock, and Kafka for those who write to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from schemas.topics import Topic


class Clock(Protocol):
    """The only source of the present."""

    def now(self) -> datetime:
        """The present, UTC, timezone-aware."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A record to produce: `key` and `value` are bytes as Kafka has them; value None is a tombstone."""

    topic: Topic
    key: bytes
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


class EventLog(Protocol):
    """Kafka, for those who write to it."""

    async def append(self, records: Sequence[Record]) -> None:
        """Returns when every record is acknowledged by all in-sync replicas.

        Raises Unavailable when that did not happen in time: some of the records may be there all the same, and the caller sends all again.
        """
        ...
