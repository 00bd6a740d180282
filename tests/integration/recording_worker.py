"""A worker with a stage that writes down what it is given, as the real agents' stages are run: python recording_worker.py PLAN (JSON)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faust
import uvloop

from pipeline.adapters.faust import batches, watch
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.postgres.batches import PostgresOffsets
from pipeline.adapters.postgres.database import Database
from pipeline.errors import Unavailable
from pipeline.ports import Batch
from pipeline.services.batch import Outcome, SeekTo, unapplied
from pipeline.settings import Kafka
from schemas.topics import BY_NAME


@dataclass(frozen=True)
class Plan:
    """fail_at, hang_at: offset of a record, in whatever partition, at which the stage raises or stands still, unless `once` exists.

    away: what it raises is that a server does not answer. broken: the stage cannot even be made. stalled_after_s: for watch.py.
    """

    bootstrap_servers: str
    prefix: str
    dsn: str
    group: str
    topics: list[str]
    data: str
    fail_at: int | None = None
    hang_at: int | None = None
    away: bool = False
    broken: bool = False
    stalled_after_s: float = 60.0
    once: str = ""
    security: dict[str, str] = field(default_factory=dict)


def say(**what: Any) -> None:
    """A line for the test."""
    print(json.dumps(what), flush=True)


class Recorder:
    """A stage whose only effect is what it says."""

    def __init__(self, plan: Plan, offsets: PostgresOffsets) -> None:
        self._plan, self._offsets = plan, offsets

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Says place and offsets of each batch, and which of them are new."""
        async with self._offsets.begin(self._plan.group, [batch.place for batch in batches]) as transaction:
            pending = unapplied(transaction.applied, batches)
            if self._misbehaves([record.offset for record in pending.records]):
                await asyncio.Event().wait()
            await transaction.advance(pending.offsets)
        fresh = {batch.place: [record.offset for record in batch.records] for batch in pending.fresh}
        for batch, outcome in zip(batches, pending.outcomes, strict=True):
            found = {"gap": outcome.offset} if isinstance(outcome, SeekTo) else {"fresh": fresh.get(batch.place, [])}
            offsets = [record.offset for record in batch.records]
            say(topic=batch.topic.name, partition=batch.partition, offsets=offsets, **found)
        return pending.outcomes

    def _misbehaves(self, offsets: Sequence[int]) -> bool:
        """Raises, or says that it is time to stand still."""
        once = Path(self._plan.once)
        if not {self._plan.fail_at, self._plan.hang_at} & {*offsets} or once.exists():
            return False
        once.touch()
        if self._plan.fail_at is not None:
            raise (Unavailable if self._plan.away else RuntimeError)("as planned")
        return True


def main(plan: Plan) -> None:
    """Runs until SIGTERM."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    kafka = Kafka(bootstrap_servers=plan.bootstrap_servers, topic_prefix=plan.prefix, **plan.security)
    app = application(plan.group, kafka, Path(plan.data))
    watch.EVERY_S, watch.STALLED_AFTER_S = 1.0, plan.stalled_after_s
    watching: list[asyncio.Task[None]] = []

    @app.agent(source(app, kafka, [BY_NAME[name] for name in plan.topics]))  # type: ignore[untyped-decorator]
    async def recorder(stream: Any) -> None:
        async with Database(plan.dsn) as database:
            offsets = PostgresOffsets(database)
            if plan.broken:
                raise RuntimeError("as planned")
            await batches.run(app, stream, Recorder(plan, offsets), offsets, plan.prefix)

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def assigned(_app: faust.App, assigned: set[Any], **_: Any) -> None:
        say(assigned=sorted((tp.topic.removeprefix(plan.prefix), tp.partition) for tp in assigned))
        watching.append(asyncio.create_task(watch.watch(app)))

    worker = faust.Worker(app, loop=loop, loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
