"""MLLP frames out of a stream of bytes: `0x0B data 0x1C 0x0D` (HL7 Transport Specification, MLLP release 1)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

START, END, RETURN = b"\x0b", b"\x1c", b"\x0d"
HEAD_KEPT = 4096
"""Bytes kept of a frame that is too large: its MSH, to answer it."""

Fault = Literal["too-large", "stray-end"]

_CONTROL = re.compile(rb"[\x0b\x1c]")
_HARMLESS = b"\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """What stood between start and end. fault: it cannot be a message; `data` is then what there is of it, for the answer."""

    data: bytes
    fault: Fault | None = None


def framed(message: bytes) -> bytes:
    """A message as it goes over the wire."""
    return START + message + END + RETURN


class Framer:
    """Fed with whatever the network brings, gives back the frames that are complete.

    A second start byte begins the frame anew: what came before it had lost its end, was never answered and will be sent again.
    """

    def __init__(self, limit: int, counts: Counter[str] | None = None) -> None:
        """counts: where restarted and noise-bytes are counted, of several connections together."""
        self._limit = limit
        self._data = bytearray()
        self._inside = False
        self._ending = False
        self._fault: Fault | None = None
        self.counts = Counter[str]() if counts is None else counts

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._inside

    def feed(self, chunk: bytes) -> list[Frame]:
        """After a frame that is too large nothing more is read: the connection is to be closed."""
        frames: list[Frame] = []
        place = 0
        while place < len(chunk) and self._fault != "too-large":
            place = self._step(chunk, place, frames)
        return frames

    def _step(self, chunk: bytes, place: int, frames: list[Frame]) -> int:
        if not self._inside:
            return self._seek_start(chunk, place)
        if self._ending:
            return self._after_end(chunk, place, frames)
        match = _CONTROL.search(chunk, place)
        stop = match.start() if match else len(chunk)
        self._data += chunk[place:stop]
        if len(self._data) > self._limit:
            self._fault = "too-large"
            frames.append(Frame(bytes(self._data[:HEAD_KEPT]), "too-large"))
            self._data.clear()
            return len(chunk)
        if match is None:
            return stop
        if match[0] == START:
            self._begin(restart=True)
        else:
            self._ending = True
        return stop + 1

    def _seek_start(self, chunk: bytes, place: int) -> int:
        start = chunk.find(START, place)
        noise = chunk[place:] if start < 0 else chunk[place:start]
        self.counts["noise-bytes"] += len(noise.strip(_HARMLESS))
        if start < 0:
            return len(chunk)
        self._begin(restart=False)
        return start + 1

    def _after_end(self, chunk: bytes, place: int, frames: list[Frame]) -> int:
        self._ending = False
        following = chunk[place : place + 1]
        if following == RETURN:
            frames.append(Frame(bytes(self._data), self._fault))
            self._inside, self._fault = False, None
            self._data.clear()
            return place + 1
        if following == START:
            self._begin(restart=True)
            return place + 1
        self._fault = "stray-end"  # an end byte inside the data is illegal: the frame is answered, but not believed
        self._data += END
        return place

    def _begin(self, restart: bool) -> None:
        if restart:
            self.counts["restarted"] += 1
        self._inside, self._ending, self._fault = True, False, None
        self._data.clear()
