"""Sends messages through the real protocols, each source on its own line, and sends again what was not acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from types import TracebackType

import structlog

from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.simulation.messages import Outgoing
from pipeline.simulation.sender import Answer, Sender

log = structlog.get_logger()
QUEUE_MAX = 64
RETRY_S = 0.5
TRIES_MAX = 240
LINES = {"modality": 3, "monitor": 12}
"""Modalities and ward gateways that send at the same time, each over a line of its own; every other source has one."""


class Feed:
    """An interface engine and a few modalities. Use as an async context manager; a message is done when it was answered for good."""

    def __init__(self, settings: Settings) -> None:
        self._gateways = settings.gateways
        self._queues: dict[str, asyncio.Queue[Outgoing]] = {}
        self._senders: list[asyncio.Task[None]] = []
        self._broken: asyncio.Future[None]
        self.sent: Counter[str] = Counter()
        """Messages by source."""
        self.refused: Counter[str] = Counter()
        """Final negative answers by reason."""
        self.retried = 0

    async def __aenter__(self) -> Feed:
        self._broken = asyncio.get_running_loop().create_future()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    async def send(self, messages: Iterator[Outgoing], speed: float) -> None:
        """Sends each message at its time divided by `speed`, or as soon after as the line allows; returns when all are answered.

        Raises what a line failed with.
        """
        sending = asyncio.create_task(self._send(messages, speed))
        try:
            await asyncio.wait({sending, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            if self._broken.done():
                self._broken.result()
            await sending
        finally:
            sending.cancel()

    async def _send(self, messages: Iterator[Outgoing], speed: float) -> None:
        began = monotonic()
        for message in messages:
            wait = message.at / timedelta(seconds=1) / speed - (monotonic() - began)
            if wait > 0:
                await asyncio.sleep(wait)
            await self._queue(message.source).put(message)
        await asyncio.gather(*(queue.join() for queue in self._queues.values()))

    def _queue(self, source: str) -> asyncio.Queue[Outgoing]:
        if source not in self._queues:
            self._queues[source] = asyncio.Queue(QUEUE_MAX)
            lines = [asyncio.create_task(self._line(self._queues[source])) for _ in range(LINES.get(source, 1))]
            for line in lines:
                line.add_done_callback(self._ended)
            self._senders += lines
        return self._queues[source]

    def _ended(self, line: asyncio.Task[None]) -> None:
        """A line that failed would leave its queue full for ever."""
        if not line.cancelled() and (error := line.exception()) is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def _line(self, queue: asyncio.Queue[Outgoing]) -> None:
        async with Sender(self._gateways) as sender:
            while True:
                message = await queue.get()
                answer = await self._until_answered(message, sender)
                self.sent[message.source] += 1
                if answer.outcome == "refused":
                    self.refused[answer.reason or "no reason"] += 1
                queue.task_done()

    async def _until_answered(self, message: Outgoing, sender: Sender) -> Answer:
        for _ in range(TRIES_MAX):
            try:
                return await sender.send(message)
            except (Unavailable, OSError):
                self.retried += 1
                await asyncio.sleep(RETRY_S)
        raise Unavailable(f"the gateway did not take a message of {message.source} in {TRIES_MAX} tries")
