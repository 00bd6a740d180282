"""Limits for reading what a stranger sent: a file that ends a reading that asks for too much, and an inflater that stops."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.errors import Refused


@dataclass(frozen=True, slots=True)
class Limits:
    """What one header may cost, whatever lengths and depths the object claims.

    header_bytes: values read into memory (pixels are never read). reads: two or three for each element inside a sequence, one for an
    element that is skipped. sequence_bytes: longest sequence that is looked into. inflated_bytes: what a deflated object may become.
    frame_bytes: decoded size of one frame, as rows x columns x samples claims it.
    """

    header_bytes: int = 8 << 20
    reads: int = 150_000
    sequence_bytes: int = 256 << 10
    inflated_bytes: int = 128 << 20
    frame_bytes: int = 1 << 30


class BoundedFile:
    """The part of a binary file that pydicom uses, with a budget. Raises Refused where the budget or the file ends."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._bytes_left = limits.header_bytes
        self._reads_left = limits.reads
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        """As file.read, but never more than the budget, and never less than asked for in the midst of an element."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise Refused("too-large", "the header has too many elements")
        left = self.size - self._file.tell()
        wanted = left if size is None or size < 0 else size
        if wanted > left and wanted > _LOOKAHEAD:
            raise Refused("malformed", "an element claims more bytes than the object has")
        self._bytes_left -= min(wanted, left)
        if self._bytes_left < 0:
            raise Refused("too-large", "the header is larger than this gateway reads")
        return self._file.read(wanted)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As file.seek, but not past the end: pydicom seeks over elements it is not asked for."""
        place = self._file.seek(offset, whence)
        if place > self.size:
            raise Refused("malformed", "an element claims more bytes than the object has")
        return place

    def tell(self) -> int:
        """As file.tell."""
        return self._file.tell()


_LOOKAHEAD = 132
"""pydicom peeks at what may be the end of the file: preamble (128 + 4), tags (8), lengths (4). A value cut so short does no harm."""


def inflate(file: BinaryIO, limits: Limits) -> BinaryIO:
    """The first `limits.header_bytes` of the raw deflate stream (PS3.5 A.5) that `file` stands at, having seen that the whole is bounded.

    Memory stays at `header_bytes` however much the stream would become. Raises Refused.
    """
    inflater, kept, total = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), 0
    try:
        while not inflater.eof:
            pending = inflater.unconsumed_tail or file.read(_CHUNK)
            if not pending:
                raise Refused("malformed", "the deflated data set is cut short")
            piece = inflater.decompress(pending, _CHUNK)
            kept.write(piece[: max(0, limits.header_bytes - total)])
            total += len(piece)
            if total > limits.inflated_bytes:
                raise Refused("too-large", f"the deflated data set becomes more than {limits.inflated_bytes >> 20} MiB")
    except zlib.error as error:
        raise Refused("malformed", "the deflated data set is corrupt") from error
    kept.seek(0)
    return kept


_CHUNK = 64 << 10
