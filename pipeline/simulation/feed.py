"""Sends messages through the real protocols, each source on its own line, and sends again what was not acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from types import TracebackType

import structlog

from pipeline.adapters.dicom.client import StoreClient
from pipeline.adapters.hl7v2.client import MllpClient, NotAnswered
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.simulation.messages import Outgoing

log = structlog.get_logger()
QUEUE_MAX = 64
RETRY_S = 0.5
TRIES_MAX = 240
MODALITIES = 3
"""Modalities that send at the same time, each over an association of its own."""


class Feed:
    """An interface engine and a few modalities. Use as an async context manager; a message is done when it was answered for good."""

    def __init__(self, settings: Settings) -> None:
        self._gateways = settings.gateways
        self._queues: dict[str, asyncio.Queue[Outgoing]] = {}
        self._senders: list[asyncio.Task[None]] = []
        self.sent: Counter[str] = Counter()
        """Messages by source."""
        self.refused: Counter[str] = Counter()
        """Final negative answers by reason."""
        self.retried = 0

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    async def send(self, messages: Iterator[Outgoing], speed: float) -> None:
        """Sends each message at its time divided by `speed`, or as soon after as the line allows; returns when all are answered."""
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
            lines = MODALITIES if source == "modality" else 1
            self._senders += [asyncio.create_task(self._line(self._queues[source])) for _ in range(lines)]
        return self._queues[source]

    async def _line(self, queue: asyncio.Queue[Outgoing]) -> None:
        mllp = MllpClient(self._gateways.host, self._gateways.mllp_port)
        store = StoreClient(self._gateways.host, self._gateways.dicom_port, called_ae_title=self._gateways.ae_title)
        try:
            while True:
                message = await queue.get()
                await self._until_answered(message, mllp, store)
                self.sent[message.source] += 1
                queue.task_done()
        finally:
            await mllp.close()
            await asyncio.to_thread(store.close)

    async def _until_answered(self, message: Outgoing, mllp: MllpClient, store: StoreClient) -> None:
        for _ in range(TRIES_MAX):
            try:
                refusal = await self._answer(message, mllp, store)
            except (NotAnswered, Unavailable, OSError):
                self.retried += 1
                await asyncio.sleep(RETRY_S)
                continue
            if refusal:
                self.refused[refusal] += 1
            return
        raise Unavailable(f"the gateway did not take a message of {message.source} in {TRIES_MAX} tries")

    async def _answer(self, message: Outgoing, mllp: MllpClient, store: StoreClient) -> str | None:
        """None: accepted. Text: refused for good. Raises where the message must be sent again."""
        if message.hl7 is not None:
            ack = await mllp.send(message.hl7)
            if ack.try_again:
                raise Unavailable(ack.text)
            return None if ack.accepted else ack.text
        answer = await asyncio.to_thread(store.send, message.dicom)
        if answer.try_again:
            raise Unavailable(answer.text)
        return None if answer.accepted else answer.text
