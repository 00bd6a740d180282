"""The lag that `/ops` and `readfirst lag` show, beside what Kafka's own record of a consumer group says, asked by another client."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from agents.context import GROUP
from pipeline import bootstrap
from pipeline.benchmarks.vitals import Load
from pipeline.services.monitor import Monitor
from pipeline.settings import Kafka
from pipeline.worklist import operations
from tests.integration import live_stages
from tests.integration.live_stages import WITHIN_S, LiveStages

Lags = dict[tuple[str, int], tuple[int, float]]
"""(topic, partition) -> records that wait, and since when the first of them does (seconds since 1970, so that two tools need not look at
the same moment); none where nothing waits."""


@pytest.fixture
def stages(kafka: str, migrated: Callable[[], str], tmp_path: Path) -> Iterator[LiveStages]:
    """Topics and a database of this test's own."""
    with live_stages.on(kafka, migrated(), "lag.", tmp_path) as live:
        yield live


async def shown(monitor: Monitor) -> Lags:
    """The context stage on the page."""
    page = operations.document(await live_stages.looked(monitor), monitor)
    (context,) = [stage for stage in page["stages"] if stage["name"] == "context"]
    at = page["at"].timestamp()
    return {(each["topic"], each["partition"]): (each["records"], at - each["seconds"]) for each in context["partitions"]}


class SecondTool:
    """aiokafka's admin client and consumer: another implementation, which goes by the offsets that the group has committed to Kafka."""

    def __init__(self, kafka: Kafka, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        self._prefix = kafka.topic_prefix
        self._admin, self._consumer = admin, consumer

    async def lags(self) -> Lags:
        """Of the context stage's group."""
        places = await self._committed()
        ends = await self._consumer.end_offsets(list(places))
        waiting = {place: offset for place, offset in places.items() if ends[place] > offset}
        return {
            (place.topic.removeprefix(self._prefix), place.partition): (ends[place] - offset, await self._since(place, offset))
            for place, offset in waiting.items()
        }

    async def _committed(self) -> dict[TopicPartition, int]:
        """aiokafka takes a coordinator that moves or loads for a group without offsets: asked again until there are some."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                found = await self._admin.list_consumer_group_offsets(GROUP)
                if places := {place: each.offset for place, each in found.items() if place.topic.startswith(self._prefix)}:
                    return places
                await asyncio.sleep(0.1)

    async def _since(self, place: TopicPartition, offset: int) -> float:
        self._consumer.assign([place])
        self._consumer.seek(place, offset)
        first = await self._consumer.getone()
        assert first.offset == offset
        return float(first.timestamp) / 1000


async def test_both_tools_say_the_same_of_a_stopped_worker(stages: LiveStages) -> None:
    """The same records on the same partitions, the same age within a second; nothing when it has caught up."""
    kafka, load = stages.settings.kafka, Load(datetime.now(UTC), 400, 60)
    records = load.vitals()
    worker = stages.start("agent-context")
    async with AsyncExitStack() as parts:
        resources = await parts.enter_async_context(bootstrap.resources(stages.settings))
        monitor = await parts.enter_async_context(resources.monitor())
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        parts.push_async_callback(admin.close)
        consumer = await parts.enter_async_context(AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers))
        second = SecondTool(kafka, admin, consumer)

        async def calm() -> None:
            async with asyncio.timeout(WITHIN_S):
                while await shown(monitor) or await second.lags():  # noqa: ASYNC110
                    await asyncio.sleep(0.2)

        await stages.assigned(worker)
        await resources.log.append(list(islice(records, 200)))
        await stages.idle(monitor, "context")
        await calm()
        worker.signal(signal.SIGSTOP)
        for _ in range(2):  # some partitions wait for longer than others
            await resources.log.append(list(islice(records, 20)))
            await asyncio.sleep(1.5)
        page, told = await shown(monitor), await second.lags()
        assert {place: waits for place, (waits, _) in page.items()} == {place: waits for place, (waits, _) in told.items()}
        assert sum(waits for waits, _ in page.values()) == 40

        def apart() -> Lags:
            return {place: page[place] for place, (_, since) in told.items() if abs(page[place][1] - since) > 1}

        deadline = asyncio.get_running_loop().time() + WITHIN_S
        while apart() and asyncio.get_running_loop().time() < deadline:
            page = await shown(monitor)  # a look that has to wait for Kafka leaves an age to the next one
        worker.signal(signal.SIGCONT)
        assert apart() == {}
        assert max(since for _, since in told.values()) - min(since for _, since in told.values()) > 1
        await calm()
