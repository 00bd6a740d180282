"""The live stream: one subscription to the store's changes fans out to every open page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request

from pipeline.errors import Unavailable
from pipeline.ports import Clock, WorklistReader

log = structlog.get_logger()

HEARTBEAT_S = 15
SEND_TIMEOUT_S = 20
"""A page that does not take a message for so long is dropped; it comes back with its Last-Event-ID and is told the present state."""
COALESCE_S = 0.1
RETRY_S = (0.2, 1.0, 2.0, 5.0)


class ChangeHub:
    """The newest `seq`, and whether the store still tells us of changes. Listeners get the latest only: nothing queues up."""

    def __init__(self, reader: WorklistReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._listeners: set[asyncio.Event] = set()
        self.seq: int | None = None
        self.trouble_since: datetime | None = None

    async def run(self) -> None:
        """Follows the store until cancelled, whatever happens to it."""
        failures = 0
        while True:
            try:
                await self.check()
                async for seq in self._reader.changes(self.seq):
                    failures = 0
                    self._tell(seq)
                raise Unavailable("the store ended its stream of changes")
            except Exception as error:  # the hub outlives any fault of the store: pages must learn that they are not live
                if self.trouble_since is None:
                    log.warning("worklist_changes_lost", error=type(error).__name__)
                self._trouble()
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def check(self) -> None:
        """Asks the store for its newest seq; that it answers ends any trouble."""
        self._tell((await self._reader.summary(self._clock.now())).seq)

    def clients(self) -> int:
        """Pages that follow."""
        return len(self._listeners)

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is something new."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    def _tell(self, seq: int) -> None:
        if seq == self.seq and self.trouble_since is None:
            return
        self.seq, self.trouble_since = seq, None
        self._wake()

    def _trouble(self) -> None:
        if self.trouble_since is None:
            self.trouble_since = self._clock.now()
            self._wake()

    def _wake(self) -> None:
        for event in self._listeners:
            event.set()


class EventStream:
    """`GET /api/events`. Events hello, changed, trouble and beat, all with the same data: seq, now, trouble_since."""

    def __init__(self, hub: ChangeHub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock

    async def endpoint(self, request: Request) -> EventSourceResponse:
        """Resumes after Last-Event-ID (`last_event_id` for a page that reconnects by itself): the first event says what was missed."""
        last = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
        return EventSourceResponse(
            self.events(_event_id(last)),
            ping=HEARTBEAT_S,
            ping_message_factory=lambda: self._event("beat"),
            send_timeout=SEND_TIMEOUT_S,
            cleanup_timeout=1.0,
        )

    async def events(self, last: int | None = None) -> AsyncIterator[ServerSentEvent]:
        """The events for one page, without the heartbeat."""
        with self._hub.listen() as news:
            yield self._event("hello", missed=last is not None and last != self._hub.seq)
            while True:
                await news.wait()
                news.clear()
                yield self._event("trouble" if self._hub.trouble_since else "changed")
                await asyncio.sleep(COALESCE_S)

    def _event(self, name: str, **extra: bool) -> ServerSentEvent:
        hub = self._hub
        data = {"seq": hub.seq, "now": self._clock.now(), "trouble_since": hub.trouble_since, **extra}
        return ServerSentEvent(data=msgspec.json.encode(data).decode(), event=name, id=None if hub.seq is None else str(hub.seq))


def _event_id(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None
