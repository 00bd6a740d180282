"""Notices a partition that stands still: nothing committed for a minute though records wait. The worker then stops, to be started again.

Faust's own detector only logs, and a worker whose consumer thread, stream or commits have died goes on with its heartbeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from time import monotonic

import faust
import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP

from pipeline.adapters.faust.batches import fatal
from pipeline.adapters.faust.transport import BatchConsumer
from pipeline.errors import StackError

log = structlog.get_logger()
EVERY_S = 10.0
STALLED_AFTER_S = 60.0
ANSWER_LIMIT_S = 45.0
"""Above aiokafka's own limits (20 s a request): only a consumer thread that is dead or blocked takes longer."""


class Standstill:
    """Burrow's rule for a stall: there is lag, and the committed offset has not moved since `after_s` seconds."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._seen: dict[TP, tuple[int, float]] = {}

    def seen(self, now: float, done: Mapping[TP, int], ends: Mapping[TP, int], partly_at: float = -inf) -> list[TP]:
        """The partitions that stand still at `now`; those no longer in `done` are forgotten. Offsets are of the next record.

        partly_at: when a part of what was handed over was last done. All else of it waits its turn, and so does what came after.
        """
        before, self._seen = self._seen, {}
        for tp, offset in done.items():
            known = before.get(tp)
            waits = offset < ends.get(tp, 0)
            self._seen[tp] = known if known is not None and waits and known[0] == offset else (offset, now)
        return sorted(tp for tp, (_, since) in self._seen.items() if now - max(since, partly_at) > self._after_s)


async def watch(app: faust.App) -> None:
    """Looks every ten seconds, for ever; ends the process when something stands still."""
    standstill = Standstill(STALLED_AFTER_S)
    while True:
        await asyncio.sleep(EVERY_S)
        with fatal():
            try:
                stalled = await _look(app, standstill)
            except (KafkaError, IllegalStateError) as error:  # the broker is away, or the partitions are on their way to another worker
                log.warning("progress_unknown", error=type(error).__name__)
                continue
            if stalled and not app.should_stop:
                names = ", ".join(f"{tp.topic}-{tp.partition}" for tp in stalled)
                raise StackError(f"nothing was committed for {STALLED_AFTER_S:.0f} s, and records wait: {names}", "the worker starts again")


async def _look(app: faust.App, standstill: Standstill) -> list[TP]:
    consumer = app.consumer
    assert isinstance(consumer, BatchConsumer)
    assigned = () if app.rebalancing or app.should_stop else tuple(consumer.assignment())
    if not assigned:
        return standstill.seen(monotonic(), {}, {})
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            begins = await consumer.earliest_offsets(*assigned)
            ends = await consumer.highwaters(*assigned)
    except TimeoutError:
        raise StackError("the consumer's thread does not answer", "the worker starts again") from None
    done = {tp: max(consumer.committed(tp), begins[tp]) for tp in assigned}
    return standstill.seen(monotonic(), done, ends, consumer.partly_at)
