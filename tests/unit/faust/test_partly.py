"""A batch that a stage does in parts: handed over again till it is done, each part acknowledged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.ports import Batch
from pipeline.services.batch import Done, Outcome, Partly
from pipeline.settings import Kafka

TOPIC = TP("labs", 0)


class World:
    """The loop of an agent over one message of three records, and a stage that does one of them at a time."""

    def __init__(self) -> None:
        self.acknowledged: list[int | str] = []
        self.handed = 0
        consumer = SimpleNamespace(done_before=lambda tp, offset: self.acknowledged.append(offset))
        self.app: Any = SimpleNamespace(conf=SimpleNamespace(id="readfirst-pictures"), consumer_generation_id=1, consumer=consumer)

    async def handle(self, given: Sequence[Batch]) -> list[Outcome]:
        self.handed += 1
        return [Partly(self.handed) if self.handed < 3 else Done(1)]

    async def run(self) -> None:
        records = [SimpleNamespace(partition=0, offset=offset, key=b"p", value=b"{}", headers=[]) for offset in range(3)]
        event = SimpleNamespace(message=SimpleNamespace(tp=TOPIC), value=records, ack=lambda: self.acknowledged.append("all"))

        async def events() -> AsyncIterator[Any]:
            yield event

        await batches.run(self.app, SimpleNamespace(noack=lambda: SimpleNamespace(events=events)), self, MemoryOffsets(), "")


async def test_the_rest_is_handed_over_until_it_is_done() -> None:
    """What was done is committed meanwhile: for the watch that is progress, and another worker begins there."""
    world = World()
    await world.run()
    assert world.acknowledged == [1, 2, "all"]


async def test_what_is_done_of_a_message_is_what_is_committed(tmp_path: Path) -> None:
    """Faust itself commits whole messages only."""
    app = application("parts", Kafka(bootstrap_servers="a:9092"), tmp_path)
    consumer: Any = app.consumer
    consumer._committed_offset[TOPIC] = 3

    consumer.done_before(TOPIC, 5)

    assert (consumer._new_offset(TOPIC), consumer._new_offset(TOPIC)) == (5, None)
    assert monotonic() - consumer.partly_at < 60


async def test_partitions_that_are_given_out_anew_are_left_to_their_owner() -> None:
    """The rest is not begun, and nothing of it acknowledged."""

    class Given(World):
        async def handle(self, given: Sequence[Batch]) -> list[Outcome]:
            self.app.consumer_generation_id = 2
            return await super().handle(given)

    world = Given()
    await world.run()
    assert (world.handed, world.acknowledged) == (1, [])
