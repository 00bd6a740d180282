"""The loop between Faust and a stage: hand over a batch, then acknowledge it or read again; on any other error stop the process.

Faust would skip a record whose agent raised and commit past it, so an error never leaves this loop: the process ends, the supervisor starts
it again, and the batch comes again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import faust
import structlog
from faust.types import TP

from pipeline.errors import StackError
from pipeline.ports import OffsetStore, Received
from pipeline.services.batch import Outcome, SeekTo
from schemas.topics import BY_NAME, Topic

log = structlog.get_logger()
EXIT_STAGE_FAILED = 70
"""sysexits.h EX_SOFTWARE: the supervisor restarts the worker."""


class Stage(Protocol):
    """A service that consumes partition batches."""

    async def handle(self, topic: Topic, partition: int, batch: list[Received]) -> Outcome:
        """Applies what is new of the batch, or says where to read from. Any exception means: nothing of it took effect."""
        ...


def _nothing() -> None:
    """What a stage without memory forgets."""


async def run(
    app: faust.App, stream: Any, stage: Stage, offsets: OffsetStore, topic_prefix: str, forget: Callable[[], None] = _nothing
) -> None:
    """Consumes for ever. `offsets` holds the applied offsets of the app's consumer group.

    forget: called after each rebalance, before the first batch: what is remembered of partitions may be another worker's now.
    """
    generation: int | None = None
    async for event in stream.noack().events():
        with fatal():
            if generation != app.consumer_generation_id:
                forget()
                generation = app.consumer_generation_id
            tp = event.message.tp
            outcome = await stage.handle(BY_NAME[tp.topic.removeprefix(topic_prefix)], tp.partition, received(event.value, topic_prefix))
            if isinstance(outcome, SeekTo):
                await _read_again(app, tp, outcome.offset, offsets, topic_prefix)
            else:
                if outcome.count == 0:
                    await _assert_log_is_whole(app, tp, offsets, topic_prefix)
                event.ack()


@contextmanager
def fatal() -> Iterator[None]:
    """Ends the process on any exception inside, before Faust's own handling can acknowledge what was not done."""
    try:
        yield
    except Exception:
        log.exception("stage_failed_worker_stops")
        os._exit(EXIT_STAGE_FAILED)


async def _read_again(app: faust.App, tp: TP, offset: int, offsets: OffsetStore, topic_prefix: str) -> None:
    """Seeks back to `offset`. Where retention has removed it, that is data loss: say so loudly, and go on at the log's beginning."""
    beginning = (await app.consumer.earliest_offsets(tp))[tp]
    if beginning > offset:
        log.error("records_lost_to_retention", topic=tp.topic, partition=tp.partition, first=offset, count=beginning - offset)
        async with offsets.begin(app.conf.id, BY_NAME[tp.topic.removeprefix(topic_prefix)], tp.partition) as transaction:
            await transaction.advance(beginning - 1)
    log.warning("batch_gap_read_again", topic=tp.topic, partition=tp.partition, offset=max(beginning, offset))
    await app.consumer.seek(tp, max(beginning, offset))


async def _assert_log_is_whole(app: faust.App, tp: TP, offsets: OffsetStore, topic_prefix: str) -> None:
    """A batch without news is a resend, unless the log ends before what was applied: then Kafka has lost its tail, or was made anew.

    New records would go for old ones until the log is as long again. Raises StackError: that must not happen in silence.
    """
    async with offsets.begin(app.conf.id, BY_NAME[tp.topic.removeprefix(topic_prefix)], tp.partition) as transaction:
        applied = transaction.applied
    end = app.consumer.highwater(tp)
    if applied >= end:
        raise StackError(
            f"{tp.topic}-{tp.partition} ends at {end}, but {applied} was applied: Kafka has lost records, or its folder was made anew",
            "restore Kafka's data; or, to go on with what is there, delete this partition's row from the table `applied`",
        )


def received(records: list[Any], topic_prefix: str) -> list[Received]:
    """aiokafka's ConsumerRecords as ours."""
    topic = BY_NAME[records[0].topic.removeprefix(topic_prefix)]
    return [
        Received(
            topic,
            r.partition,
            r.offset,
            r.key or b"",
            r.value or b"",
            {name: value.decode("utf-8", "replace") for name, value in r.headers},
        )
        for r in records
    ]
