"""The one order in which a log is replayed: each partition in its own order, the partitions merged by time.

It is a function of what each partition holds, so that no interleaving of the partitions in a file or a list makes a difference. The time is
Kafka's; of the same millisecond the smaller event id comes first. A record that is there twice (same place and offset) counts once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain

from pipeline.replay.log_file import LoggedRecord, LogReader

Key = tuple[int, str, str, int, int]


def in_order(records: LogReader | Iterable[LoggedRecord]) -> Iterator[LoggedRecord]:
    """Of a log file one chunk a partition is in memory at a time; of other records all."""
    if isinstance(records, LogReader):
        streams = [_stream(records, numbers) for numbers in records.partitions().values()]
    else:
        held: dict[tuple[str, int], list[LoggedRecord]] = {}
        for record in records:
            held.setdefault((record.topic, record.partition), []).append(record)
        streams = [_once(partition) for partition in held.values()]
    return heapq.merge(*streams, key=_key)


def _stream(log: LogReader, numbers: Iterable[int]) -> Iterator[LoggedRecord]:
    return chain.from_iterable(log.read(number) for number in numbers)


def _once(partition: Iterable[LoggedRecord]) -> Iterator[LoggedRecord]:
    last = -1
    for record in partition:
        if record.offset > last:
            last = record.offset
            yield record


def _key(record: LoggedRecord) -> Key:
    return record.timestamp, record.headers.get("event_id", ""), record.topic, record.partition, record.offset
