"""Agents as processes on a real broker and database, without the rest of the stack, and what `/ops` would show of them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from pipeline import bootstrap
from pipeline.adapters.kafka import topics
from pipeline.adapters.local.process import Child, Launch, tail
from pipeline.adapters.local.table import environment
from pipeline.ports import ListQuery
from pipeline.services.conditions import Operations, StageStanding
from pipeline.services.monitor import Monitor
from pipeline.settings import Kafka, Postgres, Settings
from schemas.worklist import WorklistItem

WITHIN_S = 240.0
"""A busy machine is no fault of the stages'."""


class LiveStages:
    """The processes, and what has come of them. Stop it in the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workers: list[Child] = []
        topics.create(settings.kafka)

    def start(self, role: str) -> Child:
        """One more worker of a role, in a folder of its own, as on a machine of its own."""
        folder = self.settings.data / f"worker-{len(self.workers)}"
        folder.mkdir()
        own = {"READFIRST_KAFKA__TOPIC_PREFIX": self.settings.kafka.topic_prefix}
        env = {**environment(self.settings.model_copy(update={"data": folder})), **own}
        child = Child(Launch([sys.executable, "-m", "agents", role], folder / "log", env))
        self.workers.append(child)
        return child

    def stop(self) -> None:
        """All of them together, also one that stands still."""
        for child in self.workers:
            child.signal(signal.SIGTERM)
            child.signal(signal.SIGCONT)
        for child in self.workers:
            child.stop()

    async def assigned(self, child: Child) -> None:
        """Until a worker says that it has got partitions."""
        async with asyncio.timeout(WITHIN_S):
            while "partitions_assigned" not in child.launch.log.read_text(errors="replace"):
                assert child.exit_code() is None, tail(child.launch.log)
                await asyncio.sleep(0.1)

    async def idle(self, monitor: Monitor, *stages: str) -> None:
        """Until nothing waits before these stages, at two looks in a row: what one has done is the next one's work."""
        calm = 0
        async with asyncio.timeout(WITHIN_S):
            while calm < 2:
                found = await standing(monitor)
                calm = calm + 1 if not any(found[name].records for name in stages) else 0
                await asyncio.sleep(0.2)

    async def listed(self) -> list[WorklistItem]:
        """The open list, as Postgres holds it."""
        items, after = list[WorklistItem](), ""
        async with bootstrap.resources(self.settings) as resources:
            while True:
                page = await resources.worklist.page(ListQuery(limit=500, after=after or None))
                items += [listed.item for listed in page.items]
                if page.next is None:
                    return items
                after = page.next


async def standing(monitor: Monitor) -> dict[str, StageStanding]:
    """What `/ops` and `readfirst lag` show now, by stage."""
    seen = await looked(monitor)
    return {each.stage.name: each for each in seen.stages}


async def looked(monitor: Monitor) -> Operations:
    """A look at which every store answered: a busy broker does not always, and what it said before then stands on."""
    async with asyncio.timeout(WITHIN_S):
        while not all((seen := await monitor.look()).up.values()):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.2)
    return seen


@contextmanager
def on(kafka: str, dsn: str, prefix: str, folder: Path) -> Iterator[LiveStages]:
    """With topics and a database of their own; whatever was started is stopped."""
    kafka_settings = Kafka(bootstrap_servers=kafka, topic_prefix=prefix)
    live = LiveStages(Settings(data=folder, kafka=kafka_settings, postgres=Postgres(dsn=SecretStr(dsn))))
    try:
        yield live
    finally:
        live.stop()
