"""How an event log lies in its file (`.rfl`): chunks of one topic each, zstd-compressed and checksummed; an index at the end.

8 magic bytes, the version (u16, big-endian), then frames. A frame is its kind (1 byte), the length of its payload (u32), CRC-32 of kind and
payload (u32), and the payload. Kinds: "H" the header (JSON, once, first), "C" a chunk (msgpack: what it holds, then the zstd body), "I" the
index (msgpack), which the last 16 bytes of the file point to. Without an index (the recorder died) the chunks are found by reading along.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from pipeline.domain.image_heads import Scope
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

    heads: the image models that there were, and what each was made for; None where nobody noted it.
    names, zone: of a log written by hand only: study UID -> what its author calls the study, and the author's time zone (IANA).
    """

    created_at: Instant
    schemas: dict[str, str]
    program: str = ""
    policy: str = ""
    models: dict[str, str] = {}
    heads: dict[str, Scope] | None = None
    partitions: int = 0
    scrubbed: bool = False
    note: str = ""
    names: dict[str, str] = {}
    zone: str = "UTC"


class Span(msgspec.Struct, frozen=True, array_like=True):
    """The records of one partition in a chunk. first, last: offsets."""

    partition: int
    first: int
    last: int
    records: int


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Where a chunk lies and what it holds: records of one topic, by partition. begins, ends: the least and the greatest timestamp."""

    position: int
    topic: str
    spans: list[Span]
    begins: int
    ends: int
    json_bytes: int

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(span.records for span in self.spans)


class _Columns(msgspec.Struct, array_like=True):
    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes]
    values: list[bytes | None]
    header_names: list[list[str]]
    """The distinct sets of header names."""
    header_sets: list[int]
    header_values: list[list[str]]
    ids: list[bytes]
    """Of each record the UUIDs that _HELD stands for: of the header event_id and the value, and of trace_id."""


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
    """Column by column, and UUIDs as bytes, which compresses better."""
    names: dict[tuple[str, ...], int] = {}
    sets = [names.setdefault(tuple(record.headers), len(names)) for record in records]
    ids, values, headers = [], [], []
    for record in records:
        held, value, told = _without_ids(record)
        ids.append(held)
        values.append(value)
        headers.append(told)
    return _Columns(
        offsets=_differences([record.offset for record in records]),
        timestamps=_differences([record.timestamp for record in records]),
        keys=[record.key for record in records],
        values=values,
        header_names=[list(each) for each in names],
        header_sets=sets,
        header_values=headers,
        ids=ids,
    )


def unpacked(chunk: Chunk, columns: _Columns) -> list[LoggedRecord]:
    """Partition by partition. Raises ValueError where columns and chunk do not fit together."""
    topic, names = chunk.topic, columns.header_names
    rows = zip(
        chain.from_iterable([span.partition] * span.records for span in chunk.spans),
        _sums(columns.offsets),
        _sums(columns.timestamps),
        columns.keys,
        columns.values,
        columns.header_sets,
        columns.header_values,
        columns.ids,
        strict=True,
    )
    records = []
    for partition, offset, at, key, value, chosen, told, ids in rows:
        headers = dict(zip(names[chosen], told, strict=True))
        if ids:
            value = _with_ids(ids, value, headers)
        records.append(LoggedRecord(topic, partition, offset, at, key, value, headers))
    return records


_HELD = "\0"
"""No JSON has it as it is."""
_HELD_BYTE = b"\0"
_ID_BYTES = 16


def _without_ids(record: LoggedRecord) -> tuple[bytes, bytes | None, list[str]]:
    """The UUIDs of event and trace, and value and headers without them; all as it was where they are not written as we write them."""
    headers, value = dict(record.headers), record.value
    event, trace = headers.get("event_id", ""), headers.get("trace_id", "")
    if value is None or _HELD_BYTE in value or not (_UUID.fullmatch(event) and _HEX.fullmatch(trace)):
        return b"", value, list(headers.values())
    headers["event_id"] = headers["trace_id"] = _HELD
    return bytes.fromhex(event.replace("-", "") + trace), value.replace(event.encode(), _HELD_BYTE), list(headers.values())


def _with_ids(ids: bytes, value: bytes | None, headers: dict[str, str]) -> bytes | None:
    plain = ids[:_ID_BYTES].hex()
    event = f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}"
    headers["event_id"], headers["trace_id"] = event, ids[_ID_BYTES:].hex()
    return None if value is None else value.replace(_HELD_BYTE, event.encode())


_HEX = re.compile("[0-9a-f]{32}")
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


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
