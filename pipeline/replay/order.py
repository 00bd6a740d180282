"""The one order in which a log is replayed: each partition in its own order, the partitions merged by time.

It is a function of what each partition holds, so that no interleaving of the partitions in a file or a list makes a difference. The time is
Kafka's; of the same millisecond the smaller event id comes first. A record that is there twice (same place and offset) counts once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby

from pipeline.replay.log_file import LoggedRecord, LogReader

Key = tuple[int, str, str, int, int]


def in_order(records: LogReader | Iterable[LoggedRecord]) -> Iterator[LoggedRecord]:
    """Of a log file a few chunks are in memory at a time; of other records all."""
    if isinstance(records, LogReader):
        chunks = _Chunks(records)
        streams = [chunks.stream(partition, numbers) for (_, partition), numbers in records.partitions().items()]
    else:
        held: dict[tuple[str, int], list[LoggedRecord]] = {}
        for record in records:
            held.setdefault((record.topic, record.partition), []).append(record)
        streams = [_once(partition) for partition in held.values()]
    return heapq.merge(*streams, key=_key)


class _Chunks:
    """Chunks from which not all partitions have been fetched yet."""

    def __init__(self, log: LogReader) -> None:
        self._log = log
        self._held: dict[int, dict[int, list[LoggedRecord]]] = {}

    def stream(self, partition: int, numbers: Iterable[int]) -> Iterator[LoggedRecord]:
        """The records of a partition out of these chunks."""
        for number in numbers:
            yield from self._fetch(number, partition)

    def _fetch(self, number: int, partition: int) -> list[LoggedRecord]:
        if number not in self._held:
            records = self._log.read(number)
            self._held[number] = {place: list(held) for place, held in groupby(records, key=lambda record: record.partition)}
        held = self._held[number]
        found = held.pop(partition)
        if not held:
            del self._held[number]
        return found


def _once(partition: Iterable[LoggedRecord]) -> Iterator[LoggedRecord]:
    last = -1
    for record in partition:
        if record.offset > last:
            last = record.offset
            yield record


def _key(record: LoggedRecord) -> Key:
    return record.timestamp, record.headers.get("event_id", ""), record.topic, record.partition, record.offset
