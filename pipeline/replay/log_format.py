"""How an event log lies in its file (`.rfl`): chunks of one topic partition each, zstd-compressed and checksummed; an index at the end.

8 magic bytes, the version (u16, big-endian), then frames. A frame is its kind (1 byte), the length of its payload (u32), CRC-32 of kind and
payload (u32), and the payload. Kinds: "H" the header (JSON, once, first), "C" a chunk (msgpack: number, place, then the zstd body), "I" the
index (msgpack), which the last 16 bytes of the file point to. Without an index (the recorder died) the chunks are found by reading along.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from pipeline.errors import ReadfirstError
from schemas.time import Instant

MAGIC = b"\x89RFL\r\n\x1a\n"
"""As PNG's: a file that was copied as text, or cut to seven bits, is not taken for damaged but for foreign."""
END = b"RFL-END\n"
VERSION = 1
CHUNK_RECORDS, CHUNK_BYTES = 500, 1 << 19
FRAME_BYTES_MAX = 256 << 20
LEVEL = 6

FRAME = struct.Struct(">cII")
TRAILER = struct.Struct(">Q8s")
VERSION_FIELD = struct.Struct(">H")

Place = tuple[str, int]
"""(topic without the site's prefix, partition)"""


class LoggedRecord(NamedTuple):
    """A Kafka record as it stood in its topic. timestamp: Kafka's CreateTime, milliseconds since 1970. value None: a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes | None
    headers: Mapping[str, str] = MappingProxyType({})


class LogHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a reader must know before the first record. schemas: topic -> `name/major`. models: name -> version, as it was asked live.

    names, zone: of a log written by hand only: study UID -> what its author calls the study, and the author's time zone (IANA).
    """

    created_at: Instant
    schemas: dict[str, str]
    program: str = ""
    policy: str = ""
    models: dict[str, str] = {}
    partitions: int = 0
    scrubbed: bool = False
    note: str = ""
    names: dict[str, str] = {}
    zone: str = "UTC"


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Where a chunk lies and what it holds. first, last: offsets; begins, ends: the least and the greatest timestamp."""

    position: int
    topic: str
    partition: int
    first: int
    last: int
    records: int
    begins: int
    ends: int
    json_bytes: int

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return self.topic, self.partition


class _Columns(msgspec.Struct, array_like=True):
    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes]
    values: list[bytes | None]
    header_names: list[list[str]]
    """The distinct sets of header names."""
    header_sets: list[int]
    header_values: list[list[str]]


class Stored(msgspec.Struct, array_like=True):
    number: int
    chunk: Chunk
    size: int
    body: bytes


class Index(msgspec.Struct, array_like=True):
    chunks: list[Chunk]
    models: dict[str, str] = {}


encoder = msgspec.msgpack.Encoder()
columns_decoder = msgspec.msgpack.Decoder(_Columns)
stored_decoder = msgspec.msgpack.Decoder(Stored)
index_decoder = msgspec.msgpack.Decoder(Index)
header_decoder = msgspec.json.Decoder(LogHeader)


class UnreadableLog(ReadfirstError):
    """Not an event log, or one that this version does not read; nothing of it can be used."""


class DamagedLog(ReadfirstError):
    """An event log that is good only up to a point. chunks, records: how many are good; position: the first byte that is not."""

    def __init__(self, path: Path, chunks: int, records: int, position: int, what: str) -> None:
        good = f"good are the first {chunks} chunks ({records} records)" if chunks else "not one chunk is good"
        super().__init__(f"{path}: {what} (chunk {chunks + 1}, at byte {position}); {good}")
        self.chunks = chunks
        self.records = records
        self.position = position


class BadFrame(Exception):
    """A frame that is not what it should be."""


def packed(records: list[LoggedRecord]) -> _Columns:
    names: dict[tuple[str, ...], int] = {}
    sets = [names.setdefault(tuple(record.headers), len(names)) for record in records]
    return _Columns(
        offsets=_differences([record.offset for record in records]),
        timestamps=_differences([record.timestamp for record in records]),
        keys=[record.key for record in records],
        values=[record.value for record in records],
        header_names=[list(each) for each in names],
        header_sets=sets,
        header_values=[list(record.headers.values()) for record in records],
    )


def unpacked(chunk: Chunk, columns: _Columns) -> list[LoggedRecord]:
    topic, partition, names = chunk.topic, chunk.partition, columns.header_names
    rows = zip(
        _sums(columns.offsets),
        _sums(columns.timestamps),
        columns.keys,
        columns.values,
        columns.header_sets,
        columns.header_values,
        strict=True,
    )
    return [
        LoggedRecord(topic, partition, offset, at, key, value, dict(zip(names[chosen], values, strict=True)))
        for offset, at, key, value, chosen, values in rows
    ]


def _differences(numbers: list[int]) -> list[int]:
    return [number - before for number, before in zip(numbers, [0, *numbers], strict=False)]


def _sums(differences: list[int]) -> Iterator[int]:
    total = 0
    for difference in differences:
        total += difference
        yield total


def milliseconds(at: datetime) -> int:
    """As Kafka writes a time."""
    return int(at.timestamp() * 1000)
