"""Event logs as files: written while records come, read a chunk at a time, so that a log may be larger than the memory."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import IO

import cramjam
import msgspec

from pipeline.replay.log_format import (
    CHUNK_BYTES,
    CHUNK_RECORDS,
    END,
    FRAME,
    FRAME_BYTES_MAX,
    LEVEL,
    MAGIC,
    TRAILER,
    VERSION,
    VERSION_FIELD,
    BadFrame,
    Chunk,
    DamagedLog,
    Index,
    LoggedRecord,
    LogHeader,
    Place,
    Span,
    Stored,
    UnreadableLog,
    columns_decoder,
    encoder,
    header_decoder,
    index_decoder,
    milliseconds,
    packed,
    stored_decoder,
    unpacked,
)

__all__ = ["Chunk", "DamagedLog", "LogHeader", "LogReader", "LogWriter", "LoggedRecord", "Place", "UnreadableLog", "milliseconds"]


class LogWriter:
    """Writes records in the order of each partition; other partitions may come in between. A context manager: only `close` makes the index.

    `append`: goes on after the last good chunk of a log that is there.
    """

    def __init__(self, path: Path | str, header: LogHeader, *, append: bool = False) -> None:
        self.path = Path(path)
        self.header = header
        self.models = dict(header.models)
        """Models that have scored what is in the log; those that the header does not name yet go into the index."""
        self._chunks: list[Chunk] = []
        self._waiting: dict[str, list[LoggedRecord]] = {}
        self._bytes: dict[str, int] = {}
        self._ends: dict[Place, int] = {}
        self.records = 0
        if append and self.path.exists():
            self._file = self._resume()
        else:
            self._file = self._created()
            self._file.write(MAGIC + VERSION_FIELD.pack(VERSION))
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
        waiting = self._waiting.setdefault(record.topic, [])
        waiting.append(record)
        size = self._bytes.get(record.topic, 0) + len(record.value or b"")
        self._bytes[record.topic] = size
        self.records += 1
        if len(waiting) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
            self._write_chunk(record.topic)
        return True

    def flush(self) -> None:
        """Everything written so far is on its way to the disk, in chunks."""
        for topic in list(self._waiting):
            self._write_chunk(topic)
        self._file.flush()

    def close(self) -> None:
        """Writes what waits, and the index. Harmless when closed already."""
        if self._file.closed:
            return
        self.flush()
        position = self._file.tell()
        self._frame(b"I", encoder.encode(Index(self._chunks, self.models)))
        self._file.write(TRAILER.pack(position, END))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _created(self) -> IO[bytes]:
        try:
            return self.path.open("wb")
        except OSError as error:
            raise UnreadableLog(f"{self.path} cannot be written: {error.strerror}") from error

    def _resume(self) -> IO[bytes]:
        reader = LogReader(self.path, salvage=True)
        reader.close()
        self.header, self._chunks, self.models = reader.header, list(reader.chunks), dict(reader.models)
        self.records = sum(chunk.records for chunk in self._chunks)
        for chunk in self._chunks:
            self._ends |= {(chunk.topic, span.partition): span.last for span in chunk.spans}
        file = self.path.open("r+b")
        file.truncate(reader.end)
        file.seek(reader.end)
        return file

    def _write_chunk(self, topic: str) -> None:
        records = sorted(self._waiting.pop(topic), key=lambda record: (record.partition, record.offset))
        times = [record.timestamp for record in records]
        chunk = Chunk(
            position=self._file.tell(),
            topic=topic,
            spans=[_span(partition, list(held)) for partition, held in groupby(records, key=lambda record: record.partition)],
            begins=min(times),
            ends=max(times),
            json_bytes=self._bytes.pop(topic),
        )
        plain = encoder.encode(packed(records))
        body = bytes(cramjam.zstd.compress(plain, level=LEVEL))
        self._frame(b"C", encoder.encode(Stored(len(self._chunks), chunk, len(plain), body)))
        self._chunks.append(chunk)

    def _frame(self, kind: bytes, payload: bytes) -> None:
        self._file.write(FRAME.pack(kind, len(payload), zlib.crc32(payload, zlib.crc32(kind))))
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
        self.models = dict(self.header.models)
        """name -> version of the models that scored what is in the log."""
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
        """Topic partition -> numbers of the chunks that have records of it, in order."""
        found: dict[Place, list[int]] = {}
        for number, chunk in enumerate(self.chunks):
            for span in chunk.spans:
                found.setdefault((chunk.topic, span.partition), []).append(number)
        return found

    def read(self, number: int) -> list[LoggedRecord]:
        """The records of a chunk, partition by partition."""
        chunk = self.chunks[number]
        self._file.seek(chunk.position)
        try:
            kind, payload = self._read_frame()
            stored = stored_decoder.decode(payload)
            if kind != b"C" or stored.number != number or stored.chunk != chunk:
                raise BadFrame("another chunk stands in its place: chunks were reordered or replaced")
            return unpacked(chunk, columns_decoder.decode(cramjam.zstd.decompress(stored.body, stored.size)))
        except (BadFrame, msgspec.DecodeError, cramjam.DecompressionError, IndexError, ValueError) as error:
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
        told = self._file.read(VERSION_FIELD.size)
        if len(told) == VERSION_FIELD.size and told != VERSION_FIELD.pack(VERSION):
            raise UnreadableLog(f"{self.path} is of log version {VERSION_FIELD.unpack(told)[0]}; this program reads version {VERSION}")
        try:
            kind, payload = self._read_frame()
            if kind != b"H":
                raise BadFrame("the header is missing")
            return header_decoder.decode(payload)
        except (BadFrame, msgspec.DecodeError) as error:
            raise UnreadableLog(f"{self.path} cannot be read from its beginning: {error}") from error

    def _read_frame(self) -> tuple[bytes, bytes]:
        head = self._file.read(FRAME.size)
        if len(head) < FRAME.size:
            raise BadFrame("the file is cut off")
        kind, length, checksum = FRAME.unpack(head)
        if length > min(FRAME_BYTES_MAX, self._length - self._file.tell()):
            raise BadFrame("the file is cut off, or a length is wrong")
        payload = self._file.read(length)
        if zlib.crc32(payload, zlib.crc32(kind)) != checksum:
            raise BadFrame("the checksum does not fit")
        return kind, payload

    def _read_index(self) -> bool:
        """False: there is none that can be trusted."""
        if self._length < self.end + TRAILER.size:
            return False
        self._file.seek(self._length - TRAILER.size)
        position, end = TRAILER.unpack(self._file.read(TRAILER.size))
        if end != END or not self.end <= position < self._length:
            return False
        self._file.seek(position)
        try:
            kind, payload = self._read_frame()
            index = index_decoder.decode(payload)
        except (BadFrame, msgspec.DecodeError):
            return False
        if kind != b"I" or self._file.tell() != self._length - TRAILER.size:
            return False
        self.chunks, self.end, self.models = index.chunks, position, index.models
        return True

    def _scan(self) -> DamagedLog:
        """Finds the chunks by reading along, to the first that is not good, or to the end that lacks its index."""
        position, ends = self.end, dict[Place, int]()
        self._file.seek(position)
        while position < self._length:
            try:
                kind, payload = self._read_frame()
                if kind == b"I":
                    raise BadFrame("the end is missing or wrong: the index stands before other bytes")
                stored = stored_decoder.decode(payload)
                if kind != b"C" or stored.number != len(self.chunks) or stored.chunk.position != position:
                    raise BadFrame("another chunk stands in its place: chunks were reordered, lost or repeated")
                spans = {(stored.chunk.topic, span.partition): span for span in stored.chunk.spans}
                if any(span.first <= ends.get(place, -1) for place, span in spans.items()):
                    raise BadFrame("its offsets were there already")
            except (BadFrame, msgspec.DecodeError) as error:
                self.end = position
                return self._damaged(len(self.chunks), position, str(error))
            ends |= {place: span.last for place, span in spans.items()}
            self.chunks.append(stored.chunk)
            position = self._file.tell()
        self.end = position
        return self._damaged(len(self.chunks), position, "the end is missing: it was not closed, or is cut off")


def _span(partition: int, records: list[LoggedRecord]) -> Span:
    return Span(partition, records[0].offset, records[-1].offset, len(records))
