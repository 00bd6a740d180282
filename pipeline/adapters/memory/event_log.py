"""Kafka in memory: append-only partitions, the same partitioner as the real producers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.partitioner import murmur2

from pipeline.errors import Unavailable
from pipeline.ports import Received, Record
from schemas.codec import decode
from schemas.topics import Topic


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner (murmur2) puts a key."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions


@dataclass(frozen=True, slots=True)
class _Fault:
    written: int


class MemoryEventLog:
    """EventLog. Everything appended can be read back, whole or as a consumer would get it."""

    def __init__(self, partitions: int = 8) -> None:
        self.partitions = partitions
        self._logs: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        self._faults: list[_Fault] = []

    def fail_next(self, times: int = 1, written: int = 0) -> None:
        """The next appends raise Unavailable; the first `written` records of each are in the log all the same."""
        self._faults += [_Fault(written)] * times

    async def append(self, records: Sequence[Record]) -> None:
        """As EventLog.append."""
        fault = self._faults.pop(0) if self._faults else None
        for record in records if fault is None else records[: fault.written]:
            self._logs[record.topic.name, partition_of(record.key, self.partitions)].append(record)
        if fault is not None:
            raise Unavailable("the log does not answer (ordered by the test)")

    def records(self, topic: Topic) -> list[Record]:
        """All records of a topic, partition by partition, in order within each."""
        return [record for partition in range(self.partitions) for record in self._logs[topic.name, partition]]

    def documents(self, topic: Topic) -> list[Any]:
        """The documents of a topic, decoded; tombstones are left out."""
        return [decode(topic, record.value) for record in self.records(topic) if record.value is not None]

    def received(self, topic: Topic, partition: int, start: int = 0) -> list[Received]:
        """What a consumer of the partition gets from offset `start` on."""
        return [
            Received(topic, partition, offset, record.key, record.value or b"", record.headers)
            for offset, record in enumerate(self._logs[topic.name, partition])
            if offset >= start
        ]
