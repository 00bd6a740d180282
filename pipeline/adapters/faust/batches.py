"""The loop between Faust and a stage: hand over the batches that have come, then acknowledge each or read it again; where a server does not
answer, hand them over again; on any other error stop the process.

Faust would skip a record whose agent raised and commit past it, so an error never leaves this loop: the process ends, the supervisor starts
it again, and the batches come again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import faust
import structlog
from faust.types import TP

from pipeline.adapters.faust.backlog import Backlog
from pipeline.adapters.telemetry.logging import of_records
from pipeline.adapters.telemetry.metrics import METRICS, Labels
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.errors import StackError, Unavailable
from pipeline.ports import Batch, OffsetStore, Place, Received
from pipeline.services.batch import Outcome, Partly, SeekTo
from schemas.topics import BY_NAME

log = structlog.get_logger()
EXIT_STAGE_FAILED = 70
"""sysexits.h EX_SOFTWARE: the supervisor restarts the worker."""
PAUSES_S = (0.2, 1.0, 3.0)
"""Before a stage is asked again whose server did not answer. With what the server is waited for each time well below the minute after which
a partition that stands still ends the process (`watch`)."""


class Stage(Protocol):
    """A service that consumes partition batches."""

    async def handle(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """Applies what is new of the batches, each of another place, in one transaction; for each in order: done, or how far, or where to
        read from.

        Any exception means: nothing of them took effect.
        """
        ...


def _nothing() -> None:
    """What a stage without memory forgets."""


async def run(
    app: faust.App, stream: Any, stage: Stage, offsets: OffsetStore, topic_prefix: str, forget: Callable[[], None] = _nothing
) -> None:
    """Consumes for ever. `offsets` holds the applied offsets of the app's consumer group.

    forget: called after each rebalance, before the first batch: what is remembered of partitions may be another worker's now; and after a
    failure, for what is remembered may be half done.
    """
    generation: int | None = None
    backlog, labels = Backlog(), stage_labels(app.conf.id)
    filling = asyncio.ensure_future(backlog.fill(stream.noack().events()))
    try:
        while messages := await backlog.take():
            with fatal():
                if generation != app.consumer_generation_id:
                    forget()
                    generation = app.consumer_generation_id
                taken = [batch(events, topic_prefix) for events in messages.values()]
                headers = [record.headers for each in taken for record in each.records]
                with METRICS.timed("readfirst_batch_seconds", labels), TRACING.records(labels["stage"], headers), of_records(headers):
                    outcomes = await _to_the_end(app, list(messages), stage, taken, forget)
                    log.info("batch_handled", stage=labels["stage"], records=len(headers))
                METRICS.observe("readfirst_batch_records", len(headers), labels)
                for (tp, events), outcome in zip(messages.items(), outcomes, strict=True):
                    await _settle(app, tp, events, outcome, offsets, topic_prefix)
        await filling  # raises what has ended the stream, if it was an error
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


def stage_labels(group: str) -> Labels:
    """The consumer group as the label of its metrics."""
    return {"stage": group.removeprefix("readfirst-")}


@contextmanager
def fatal() -> Iterator[None]:
    """Ends the process on any exception inside, before Faust's own handling can acknowledge what was not done."""
    try:
        yield
    except Exception:
        log.exception("stage_failed_worker_stops")
        os._exit(EXIT_STAGE_FAILED)


async def _to_the_end(
    app: faust.App, places: Sequence[TP], stage: Stage, taken: Sequence[Batch], forget: Callable[[], None]
) -> Sequence[Outcome]:
    """In as many transactions as the stage wants. Where partitions are given out anew in between, who has them goes on."""
    generation = app.consumer_generation_id
    while True:
        outcomes = await _handled(stage, taken, forget)
        stopped = [(tp, outcome.offset) for tp, outcome in zip(places, outcomes, strict=True) if isinstance(outcome, Partly)]
        if not stopped or app.consumer_generation_id != generation:
            return outcomes
        for tp, offset in stopped:
            app.consumer.done_before(tp, offset)


async def _handled(stage: Stage, taken: Sequence[Batch], forget: Callable[[], None]) -> Sequence[Outcome]:
    """A server that is away for a moment, or busy, is no reason to give up the partitions and begin anew: the same batches once more.

    Should they be another worker's by then, they are found applied.
    """
    for pause in PAUSES_S:
        try:
            return await stage.handle(taken)
        except Unavailable as error:
            log.warning("stage_waits", error=str(error), pause_s=pause)
            forget()
        await asyncio.sleep(pause)
    return await stage.handle(taken)


async def _settle(app: faust.App, tp: TP, events: Sequence[Any], outcome: Outcome, offsets: OffsetStore, topic_prefix: str) -> None:
    place = Place(tp.topic.removeprefix(topic_prefix), tp.partition)
    if isinstance(outcome, SeekTo):
        await _read_again(app, tp, place, outcome.offset, offsets)
        return
    if isinstance(outcome, Partly):
        return
    if outcome.count == 0:
        await _assert_log_is_whole(app, tp, place, offsets)
    for event in events:
        event.ack()


async def _read_again(app: faust.App, tp: TP, place: Place, offset: int, offsets: OffsetStore) -> None:
    """Seeks back to `offset`. Where retention has removed it, that is data loss: say so loudly, and go on at the log's beginning."""
    beginning = (await app.consumer.earliest_offsets(tp))[tp]
    if beginning > offset:
        log.error("records_lost_to_retention", topic=tp.topic, partition=tp.partition, first=offset, count=beginning - offset)
        async with offsets.begin(app.conf.id, [place]) as transaction:
            await transaction.advance({place: beginning - 1})
    log.warning("batch_gap_read_again", topic=tp.topic, partition=tp.partition, offset=max(beginning, offset))
    await app.consumer.seek(tp, max(beginning, offset))


async def _assert_log_is_whole(app: faust.App, tp: TP, place: Place, offsets: OffsetStore) -> None:
    """A batch without news is a resend, unless the log ends before what was applied: then Kafka has lost its tail, or was made anew.

    New records would go for old ones until the log is as long again. Raises StackError: that must not happen in silence.
    """
    async with offsets.begin(app.conf.id, [place]) as transaction:
        applied = transaction.applied[place]
    end = app.consumer.highwater(tp)
    if applied >= end:
        raise StackError(
            f"{tp.topic}-{tp.partition} ends at {end}, but {applied} was applied: Kafka has lost records, or its folder was made anew",
            "restore Kafka's data; or, to go on with what is there, delete this partition's row from the table `applied`",
        )


def batch(events: Sequence[Any], topic_prefix: str) -> Batch:
    """aiokafka's ConsumerRecords of one partition as ours."""
    tp = events[0].message.tp
    topic = BY_NAME[tp.topic.removeprefix(topic_prefix)]
    records = [
        Received(
            topic,
            r.partition,
            r.offset,
            r.key or b"",
            r.value or b"",
            {name: value.decode("utf-8", "replace") for name, value in r.headers},
        )
        for event in events
        for r in event.value
    ]
    return Batch(topic, tp.partition, records)
