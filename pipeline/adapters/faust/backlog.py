"""What has come from Faust and waits for its turn: while one transaction is under way, the next one's batches gather here."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any

from faust.types import TP

MESSAGES_MAX = 64
"""Messages that wait, each a fetched partition batch; beyond them Faust's own short buffer fills, and records stay in the fetcher."""
RECORDS_MAX = 4000
"""A transaction takes no further message once it has so many records."""
APART_S = 0.05
"""Transactions begin at least so far apart: under load each is larger and there are fewer, whose cost hardly grows with their size. Who
comes after a quiet moment does not wait."""


class Backlog:
    """A bounded queue of messages that gives out as many as one transaction may have."""

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()
        self._changed = asyncio.Condition()
        self._ended = False
        self._next_at = 0.0

    async def fill(self, events: Any) -> None:
        """Takes in all that comes, until the stream ends."""
        try:
            async for event in events:
                async with self._changed:
                    await self._changed.wait_for(lambda: len(self._waiting) < MESSAGES_MAX)
                    self._waiting.append(event)
                    self._changed.notify_all()
        finally:
            self._ended = True
            async with self._changed:
                self._changed.notify_all()

    async def take(self) -> dict[TP, list[Any]]:
        """The oldest messages, at least one, by partition: those of one partition follow each other without a hole. Empty at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._ended)
        await asyncio.sleep(max(0.0, self._next_at - monotonic()))
        self._next_at = monotonic() + APART_S
        async with self._changed:
            taken: dict[TP, list[Any]] = {}
            records = 0
            while self._waiting and records < RECORDS_MAX and _follows(taken, self._waiting[0]):
                event = self._waiting.popleft()
                taken.setdefault(event.message.tp, []).append(event)
                records += len(event.value)
            self._changed.notify_all()
            return taken


def _follows(taken: dict[TP, list[Any]], event: Any) -> bool:
    before = taken.get(event.message.tp)
    return before is None or before[-1].value[-1].offset + 1 == event.value[0].offset
