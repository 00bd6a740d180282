"""An MLLP sender: one connection, one message at a time, its answer read back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Self

from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.header import Header, read_header
from pipeline.adapters.hl7v2.message import split_batch
from pipeline.errors import Unavailable

_START, _END = b"\x0b", b"\x1c\x0d"
ANSWER_MAX = 8 << 20
SILENCE_S = 2.0
"""How long to wait where only errors are answered: silence then means success."""


class MllpClient:
    """Connects at the first message, and again when the connection was lost between two."""

    def __init__(self, host: str, port: int, timeout_s: float = 30.0, tls: ssl.SSLContext | None = None) -> None:
        self._host, self._port, self._timeout_s, self._tls = host, port, timeout_s, tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, message: bytes) -> bytes:
        """The last answer that MSH-15 and MSH-16 ask for (`acknowledgement.read` reads it); empty where they ask for none.

        Raises Unavailable when the connection or the answer does not come in time: whether the message was taken is then unknown, and
        sending it again does no harm.
        """
        on_success, on_error = _answers_wanted(message)
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connection()
                writer.write(_START + message + _END)
                await writer.drain()
                if not on_success:
                    return await _read_unless_silent(reader) if on_error else b""
                answer = await _read_frame(reader)
                if on_success > 1 and all(one.outcome != "refused" for one in acknowledgement.read(answer)):
                    answer = await _read_frame(reader)
                return answer
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            await self.close()
            raise Unavailable(f"no answer from {self._host}:{self._port} ({type(error).__name__})") from error

    async def close(self) -> None:
        """Closes the connection."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            await self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=ANSWER_MAX, ssl=self._tls)
        return self._streams


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    frame = await reader.readuntil(_END)
    return frame[frame.rfind(_START) + 1 : -len(_END)]


async def _read_unless_silent(reader: asyncio.StreamReader) -> bytes:
    """The message asks to hear of errors only."""
    try:
        async with asyncio.timeout(SILENCE_S):
            return await _read_frame(reader)
    except TimeoutError:
        return b""


def _answers_wanted(message: bytes) -> tuple[int, int]:
    """How many answers success and failure bring. A batch is answered once."""
    messages = split_batch(message)
    counts = [_answers_to(read_header(one)) for one in messages]
    success, failure = max((count[0] for count in counts), default=1), max((count[1] for count in counts), default=1)
    return (success, failure) if messages == [message] else (min(success, 1), min(failure, 1))


def _answers_to(header: Header | None) -> tuple[int, int]:
    if header is None or not header.enhanced:
        return 1, 1
    conditions = [header.text(field).upper() for field in (15, 16)]
    return sum(condition in ("AL", "SU") for condition in conditions), int(any(condition in ("AL", "ER") for condition in conditions))
