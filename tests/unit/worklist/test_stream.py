"""The live stream, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from sse_starlette import ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.types import Message

from pipeline.errors import Unavailable
from pipeline.worklist.stream import ChangeHub, EventStream
from tests.unit.worklist.web import Web, item


@asynccontextmanager
async def running(hub: ChangeHub) -> AsyncIterator[None]:
    """The hub follows the store."""
    task = asyncio.create_task(hub.run())
    while hub.seq is None and hub.trouble_since is None:  # noqa: ASYNC110 (the hub tells its listeners, and has none yet)
        await asyncio.sleep(0)
    yield
    task.cancel()


def told(event: ServerSentEvent) -> tuple[str | None, dict[str, Any]]:
    """Name and data."""
    return event.event, msgspec.json.decode(event.data)


async def following(events: AsyncIterator[ServerSentEvent]) -> tuple[str | None, dict[str, Any]]:
    """The next event, soon."""
    async with asyncio.timeout(60):
        return told(await anext(events))


async def test_a_page_is_greeted_and_then_told_of_changes(web: Web) -> None:
    """Each event has the newest seq, as data and as id, and the server's time."""
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        events = EventStream(hub, web.clock).events()
        name, data = await following(events)
        assert (name, data["seq"], data["now"], data["missed"]) == ("hello", 3, "2026-03-03T10:30:00Z", False)

        web.put(item(5))
        name, data = await following(events)
        assert (name, data["seq"]) == ("changed", 4)


@pytest.mark.parametrize(("last", "missed"), [(3, False), (1, True), (99, True), (None, False)])
async def test_a_page_that_comes_back_learns_whether_it_missed_anything(web: Web, last: int | None, missed: bool) -> None:
    """An id from before, and one that this store never gave."""
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        assert (await following(EventStream(hub, web.clock).events(last)))[1]["missed"] is missed


async def test_a_slow_page_gets_the_latest_only(web: Web) -> None:
    """Nothing queues up: a hundred changes while it did not listen are one event."""
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        events = EventStream(hub, web.clock).events()
        await following(events)
        for number in range(100):
            web.put(item(1000 + number))
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

        assert (await following(events))[1]["seq"] == 103
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(events)


async def test_all_pages_share_one_subscription(web: Web) -> None:
    """The store is asked once, however many listen."""
    asked = 0
    changes = web.worklist.changes

    def counted(since: int | None) -> AsyncIterator[int]:
        nonlocal asked
        asked += 1
        return changes(since)

    web.worklist.changes = counted  # type: ignore[method-assign]
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        pages = [EventStream(hub, web.clock).events() for _ in range(50)]
        for page in pages:
            await following(page)
        await asyncio.sleep(0)
        web.put(item(5))
        assert {(await following(page))[1]["seq"] for page in pages} == {4}

    assert asked == 1


async def test_pages_are_told_when_the_store_is_lost_and_when_it_is_back(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble has a time; the end of it comes without any change of the list."""
    monkeypatch.setattr("pipeline.worklist.stream.RETRY_S", (0.01,))
    web.worklist.down = True
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        events = EventStream(hub, web.clock).events()
        assert (await following(events))[1]["trouble_since"] == "2026-03-03T10:30:00Z"

        web.worklist.down = False
        name, data = await following(events)
        assert (name, data["trouble_since"], data["seq"]) == ("changed", None, 3)


async def test_a_fault_that_nobody_foresaw_does_not_end_the_stream(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the store raises, the hub tells of trouble and tries again."""
    monkeypatch.setattr("pipeline.worklist.stream.RETRY_S", (0.01,))
    changes, faults = web.worklist.changes, [KeyError("surprise"), Unavailable("gone")]

    async def faulty(since: int | None) -> AsyncIterator[int]:
        if faults:
            raise faults.pop()
        async for seq in changes(since):
            yield seq

    web.worklist.changes = faulty  # type: ignore[method-assign]
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        events = EventStream(hub, web.clock).events()
        await following(events)
        async with asyncio.timeout(60):
            while faults or hub.trouble_since:  # noqa: ASYNC110 (which wake-up ends the trouble is not known)
                await asyncio.sleep(0.01)
        web.put(item(5))
        while (data := (await following(events))[1])["seq"] != 4:
            assert data["seq"] == 3


async def test_a_page_that_takes_nothing_is_dropped(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off instead of being buffered for; it will come back with its last id."""
    monkeypatch.setattr("pipeline.worklist.stream.SEND_TIMEOUT_S", 0.05)
    hub = ChangeHub(web.worklist, web.clock)

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async with running(hub):
        response = await EventStream(hub, web.clock).endpoint(Request({"type": "http", "headers": [], "query_string": b""}))
        async with asyncio.timeout(60):
            with pytest.raises(SendTimeoutError):
                await response({"type": "http", "method": "GET"}, receive, send)
    assert hub._listeners == set()


async def test_a_page_that_leaves_is_forgotten(web: Web) -> None:
    """Nothing of it stays with the hub."""
    hub = ChangeHub(web.worklist, web.clock)
    async with running(hub):
        events = EventStream(hub, web.clock).events()
        await following(events)
        await events.aclose()  # type: ignore[attr-defined]

    assert hub._listeners == set()
