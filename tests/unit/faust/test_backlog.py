"""Messages gather while a transaction is under way, bounded, and come out in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from pipeline.adapters.faust import backlog
from pipeline.adapters.faust.backlog import Backlog
from tests import virtual_time

A, B = TP("labs", 0), TP("vitals", 3)


def message(tp: TP, *offsets: int) -> Any:
    return SimpleNamespace(message=SimpleNamespace(tp=tp), value=[SimpleNamespace(offset=offset) for offset in offsets])


async def stream(*messages: Any, stay: bool = True) -> AsyncIterator[Any]:
    for each in messages:
        yield each
    if stay:
        await asyncio.Event().wait()


async def taken(waiting: Backlog) -> dict[TP, list[int]]:
    async with asyncio.timeout(60):
        return {tp: [record.offset for event in events for record in event.value] for tp, events in (await waiting.take()).items()}


async def filled(waiting: Backlog, *messages: Any) -> asyncio.Task[None]:
    task = asyncio.create_task(waiting.fill(stream(*messages)))
    await asyncio.sleep(0.01)
    return task


async def test_all_that_has_come_is_taken_together() -> None:
    """Of every partition, messages of one that follow each other as one run of records."""
    waiting = Backlog()
    task = await filled(waiting, message(A, 0, 1), message(B, 7), message(A, 2, 3))

    assert await taken(waiting) == {A: [0, 1, 2, 3], B: [7]}
    task.cancel()


async def test_a_hole_or_a_resend_begins_a_new_turn() -> None:
    """So that the check against the applied offset sees it."""
    waiting = Backlog()
    task = await filled(waiting, message(A, 0, 1), message(A, 5), message(B, 7), message(A, 5, 6))

    assert [await taken(waiting) for _ in range(3)] == [{A: [0, 1]}, {A: [5], B: [7]}, {A: [5, 6]}]
    task.cancel()


async def test_a_turn_and_the_queue_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records a turn, messages that wait; what is beyond stays with whoever sends, and comes later."""
    monkeypatch.setattr(backlog, "RECORDS_MAX", 3)
    monkeypatch.setattr(backlog, "MESSAGES_MAX", 2)
    waiting, sent = Backlog(), []

    async def counted() -> AsyncIterator[Any]:
        for number in range(6):
            sent.append(number)
            yield message(A, 2 * number, 2 * number + 1)

    task = asyncio.create_task(waiting.fill(counted()))
    await asyncio.sleep(0.01)
    assert sent == [0, 1, 2]

    turns = []
    while turn := await taken(waiting):
        turns.append(turn[A])
        await asyncio.sleep(0.01)
    assert turns == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    await task


async def test_the_end_of_the_stream_is_the_end() -> None:
    """What had come is given out first; an error of the stream is not swallowed."""
    waiting = Backlog()
    task = asyncio.create_task(waiting.fill(stream(message(A, 0), stay=False)))
    assert await taken(waiting) == {A: [0]}
    assert await taken(waiting) == {}
    await task

    async def broken() -> AsyncIterator[Any]:
        yield message(A, 1)
        raise RuntimeError("the stream broke")

    failing = Backlog()
    task = asyncio.create_task(failing.fill(broken()))
    assert await taken(failing) == {A: [1]}
    assert await taken(failing) == {}
    with pytest.raises(RuntimeError):
        await task


def test_turns_under_load_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes just after a turn waits a little for company; the first one does not wait."""
    monkeypatch.setattr(backlog, "monotonic", lambda: asyncio.get_running_loop().time())

    async def turns() -> None:
        waiting, now = Backlog(), asyncio.get_running_loop().time
        tasks = [await filled(waiting, message(A, 0))]
        began = now()
        assert await taken(waiting) == {A: [0]}
        assert now() == began
        tasks.append(asyncio.create_task(waiting.fill(stream(message(A, 1)))))
        turn = asyncio.create_task(taken(waiting))
        await asyncio.sleep(backlog.APART_S / 2)
        tasks.append(asyncio.create_task(waiting.fill(stream(message(B, 7)))))

        assert await turn == {A: [1], B: [7]}
        assert now() - began == pytest.approx(backlog.APART_S)
        for each in tasks:
            each.cancel()

    virtual_time.run(turns())
