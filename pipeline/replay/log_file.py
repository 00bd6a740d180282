"""The event log as one file (`.rfl`): chunks of one topic partition each, zstd-compressed and checksummed, an index at the end.

Layout: 8 magic bytes, the version (u16, big-endian), then frames. A frame is its kind (1 byte), the length of its payload (u32), CRC-32 of
kind and payload (u32), and the payload. Kinds: "H" the header (JSON, once, first), "C" a chunk (msgpack: place, then the zstd body), "I" the
index (msgpack), which the last 16 bytes of the file point to. Without an index (the recorder died) the chunks are found by reading along.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

import cramjam
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

_FRAME = struct.Struct(">cII")
_TRAILER = struct.Struct(">Q8s")
_VERSION = struct.Struct(">H")

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


class _Stored(msgspec.Struct, array_like=True):
    number: int
    chunk: Chunk
    size: int
    body: bytes


class _Index(msgspec.Struct, array_like=True):
    chunks: list[Chunk]


_encoder = msgspec.msgpack.Encoder()
_columns = msgspec.msgpack.Decoder(_Columns)
_stored = msgspec.msgpack.Decoder(_Stored)
_index = msgspec.msgpack.Decoder(_Index)
_header = msgspec.json.Decoder(LogHeader)


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


class LogWriter:
    """Writes records in the order of each partition; other partitions may come in between. A context manager: only `close` makes the index.

    `append`: goes on after the last good chunk of a log that is there.
    """

    def __init__(self, path: Path | str, header: LogHeader, *, append: bool = False) -> None:
        self.path = Path(path)
        self.header = header
        self._chunks: list[Chunk] = []
        self._waiting: dict[Place, list[LoggedRecord]] = {}
        self._bytes: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self.records = 0
        if append and self.path.exists():
            self._file = self._resume()
        else:
            self._file = self.path.open("wb")
            self._file.write(MAGIC + _VERSION.pack(VERSION))
            self._frame(b"H", msgspec.json.encode(header))

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ends(self) -> dict[Place, int]:
        """The last offset of each partition that is in the log or waits to be written."""
        return self._ends

    @property
    def json_bytes(self) -> int:
        """Bytes of the values that are in chunks."""
        return sum(chunk.json_bytes for chunk in self._chunks)

    def write(self, record: LoggedRecord) -> bool:
        """False: the log has this offset already, as a consumer that reads again may bring it."""
        place = (record.topic, record.partition)
        if record.offset <= self._ends.get(place, -1):
            return False
        self._ends[place] = record.offset
        waiting = self._waiting.setdefault(place, [])
        waiting.append(record)
        size = self._bytes.get(place, 0) + len(record.value or b"")
        self._bytes[place] = size
        self.records += 1
        if len(waiting) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
            self._write_chunk(place)
        return True

    def flush(self) -> None:
        """Everything written so far is on its way to the disk, in chunks."""
        for place in list(self._waiting):
            self._write_chunk(place)
        self._file.flush()

    def close(self) -> None:
        """Writes what waits, and the index. Harmless when closed already."""
        if self._file.closed:
            return
        self.flush()
        position = self._file.tell()
        self._frame(b"I", _encoder.encode(_Index(self._chunks)))
        self._file.write(_TRAILER.pack(position, END))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _resume(self) -> IO[bytes]:
        reader = LogReader(self.path, salvage=True)
        self.header, self._chunks = reader.header, list(reader.chunks)
        self.records = sum(chunk.records for chunk in self._chunks)
        for chunk in self._chunks:
            self._ends[chunk.place] = chunk.last
        file = self.path.open("r+b")
        file.truncate(reader.end)
        file.seek(reader.end)
        return file

    def _write_chunk(self, place: Place) -> None:
        records = self._waiting.pop(place)
        times = [record.timestamp for record in records]
        chunk = Chunk(
            position=self._file.tell(),
            topic=place[0],
            partition=place[1],
            first=records[0].offset,
            last=records[-1].offset,
            records=len(records),
            begins=min(times),
            ends=max(times),
            json_bytes=self._bytes.pop(place),
        )
        plain = _encoder.encode(_packed(records))
        body = bytes(cramjam.zstd.compress(plain, level=LEVEL))
        self._frame(b"C", _encoder.encode(_Stored(len(self._chunks), chunk, len(plain), body)))
        self._chunks.append(chunk)

    def _frame(self, kind: bytes, payload: bytes) -> None:
        self._file.write(_FRAME.pack(kind, len(payload), zlib.crc32(payload, zlib.crc32(kind))))
        self._file.write(payload)


class LogReader:
    """Iterates the records as they stand in the file: each partition in order. Raises UnreadableLog or DamagedLog.

    salvage: a damaged log is read up to its last good chunk, and `damage` says what is wrong.
    """

    def __init__(self, path: Path | str, *, salvage: bool = False) -> None:
        self.path = Path(path)
        self.damage: DamagedLog | None = None
        self.chunks: list[Chunk] = []
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise UnreadableLog(f"{path} cannot be read: {error.strerror}") from error
        self._length = os.fstat(self._file.fileno()).st_size
        self.header = self._read_header()
        self.end = self._file.tell()
        """Where the chunks end."""
        if not self._read_index():
            self.damage = self._scan()
        if self.damage is not None and not salvage:
            raise self.damage

    def __iter__(self) -> Iterator[LoggedRecord]:
        for number in range(len(self.chunks)):
            yield from self.read(number)

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(chunk.records for chunk in self.chunks)

    @property
    def json_bytes(self) -> int:
        """Bytes of all values, as they stood in Kafka."""
        return sum(chunk.json_bytes for chunk in self.chunks)

    @property
    def span(self) -> tuple[int, int] | None:
        """The least and the greatest timestamp, ms since 1970; None for an empty log."""
        return (min(c.begins for c in self.chunks), max(c.ends for c in self.chunks)) if self.chunks else None

    def partitions(self) -> dict[Place, list[int]]:
        """Topic partition -> numbers of its chunks, in order."""
        found: dict[Place, list[int]] = {}
        for number, chunk in enumerate(self.chunks):
            found.setdefault(chunk.place, []).append(number)
        return found

    def read(self, number: int) -> list[LoggedRecord]:
        """The records of a chunk."""
        chunk = self.chunks[number]
        self._file.seek(chunk.position)
        try:
            kind, payload = self._read_frame()
            stored = _stored.decode(payload)
            if kind != b"C" or stored.number != number or stored.chunk != chunk:
                raise _Bad("another chunk stands in its place: chunks were reordered or replaced")
            return _unpacked(chunk, _columns.decode(cramjam.zstd.decompress(stored.body, stored.size)))
        except (_Bad, msgspec.DecodeError, cramjam.DecompressionError, IndexError, ValueError) as error:
            raise self._damaged(number, chunk.position, str(error)) from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _damaged(self, number: int, position: int, what: str) -> DamagedLog:
        return DamagedLog(self.path, number, sum(chunk.records for chunk in self.chunks[:number]), position, what)

    def _read_header(self) -> LogHeader:
        magic = self._file.read(len(MAGIC))
        if magic != MAGIC:
            raise UnreadableLog(f"{self.path} is no event log of Readfirst")
        told = self._file.read(_VERSION.size)
        if len(told) == _VERSION.size and told != _VERSION.pack(VERSION):
            raise UnreadableLog(f"{self.path} is of log version {_VERSION.unpack(told)[0]}; this program reads version {VERSION}")
        try:
            kind, payload = self._read_frame()
            if kind != b"H":
                raise _Bad("the header is missing")
            return _header.decode(payload)
        except (_Bad, msgspec.DecodeError) as error:
            raise UnreadableLog(f"{self.path} cannot be read from its beginning: {error}") from error

    def _read_frame(self) -> tuple[bytes, bytes]:
        head = self._file.read(_FRAME.size)
        if len(head) < _FRAME.size:
            raise _Bad("the file is cut off")
        kind, length, checksum = _FRAME.unpack(head)
        if length > min(FRAME_BYTES_MAX, self._length - self._file.tell()):
            raise _Bad("the file is cut off, or a length is wrong")
        payload = self._file.read(length)
        if zlib.crc32(payload, zlib.crc32(kind)) != checksum:
            raise _Bad("the checksum does not fit")
        return kind, payload

    def _read_index(self) -> bool:
        """False: there is none that can be trusted."""
        if self._length < self.end + _TRAILER.size:
            return False
        self._file.seek(self._length - _TRAILER.size)
        position, end = _TRAILER.unpack(self._file.read(_TRAILER.size))
        if end != END or not self.end <= position < self._length:
            return False
        self._file.seek(position)
        try:
            kind, payload = self._read_frame()
            chunks = _index.decode(payload).chunks
        except (_Bad, msgspec.DecodeError):
            return False
        if kind != b"I" or self._file.tell() != self._length - _TRAILER.size:
            return False
        self.chunks, self.end = chunks, position
        return True

    def _scan(self) -> DamagedLog:
        """Finds the chunks by reading along, to the first that is not good, or to the end that lacks its index."""
        position, ends = self.end, dict[Place, int]()
        self._file.seek(position)
        while position < self._length:
            try:
                kind, payload = self._read_frame()
                if kind == b"I":
                    raise _Bad("the end is missing or wrong: the index stands before other bytes")
                stored = _stored.decode(payload)
                if kind != b"C" or stored.number != len(self.chunks) or stored.chunk.position != position:
                    raise _Bad("another chunk stands in its place: chunks were reordered, lost or repeated")
                if stored.chunk.first <= ends.get(stored.chunk.place, -1):
                    raise _Bad("its offsets were there already")
            except (_Bad, msgspec.DecodeError) as error:
                self.end = position
                return self._damaged(len(self.chunks), position, str(error))
            ends[stored.chunk.place] = stored.chunk.last
            self.chunks.append(stored.chunk)
            position = self._file.tell()
        self.end = position
        return self._damaged(len(self.chunks), position, "the end is missing: it was not closed, or is cut off")


class _Bad(Exception):
    """A frame that is not what it should be."""


def _packed(records: list[LoggedRecord]) -> _Columns:
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


def _unpacked(chunk: Chunk, columns: _Columns) -> list[LoggedRecord]:
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
