"""A driver that hands an agent one message for each fetched partition batch, which takes Faust's cost per record away.

`event.value` is a list of aiokafka ConsumerRecords of one partition, `event.message.offset` the last one's. Acknowledge in order.
Faust may drop fetched messages while a rebalance settles; `services.batch` sees the hole and reads again.
Written against faust-streaming 0.15.3 (`faust/transport/consumer.py`: getmany, _add_gap, _new_offset).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf
from time import monotonic
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

BATCH_RECORDS_MAX = 2000


FETCH_MAX_WAIT_MS = 50
"""How long the broker holds a fetch that has nothing to answer. A partition whose batch is still at the agent is not part of the fetch that
is under way, so this is also how long its next records can lie there unseen; Faust's 1.5 s would be a second on the way to the list."""


class PromptThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The consumer's thread, with a shorter wait at the broker: a setting that Faust does not have."""

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Yields batches; knows that the offsets between two acknowledged messages belong to the batches themselves."""

    partly_at = -inf
    """When the beginning of a message was last acknowledged, in seconds of `monotonic`."""

    def _new_consumer_thread(self) -> PromptThread:
        return PromptThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 (the base's signature)
        """As the base class, a batch a message."""
        fetched, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if fetched is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for tp, records in fetched.items():
            for start in range(0, len(records), BATCH_RECORDS_MAX):
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    return
                if active is None or tp in active or tp in self._buffered_partitions:
                    self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                    yield tp, _message(tp, records[start : start + BATCH_RECORDS_MAX], generation)

    def committed(self, tp: TP) -> int:
        """Offset of the next record as last committed, or as found when the partition was assigned; 0 where there was none."""
        return self._committed_offset.get(tp) or 0

    def done_before(self, tp: TP, offset: int) -> None:
        """Acknowledges the beginning of a message, which Faust itself does only as a whole: it is committed with the next ones."""
        self._acked_index[tp].add(offset - 1)
        self._acked[tp].append(offset - 1)
        self.partly_at = monotonic()

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """The offsets inside a batch are not processed yet, so they are no gap."""

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        new: int = max(acked) + 1
        self._acked_index[tp].difference_update(acked)
        acked.clear()
        committed = self._committed_offset[tp]
        return new if committed is None or new > committed else None


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Set as `app.transport`."""

    Consumer = BatchConsumer


def _message(tp: TP, batch: list[Any], generation: int) -> ConsumerMessage:
    last = batch[-1]
    return ConsumerMessage(
        last.topic,
        last.partition,
        last.offset,
        last.timestamp / 1000,
        last.timestamp_type,
        last.headers,
        None,
        batch,
        None,
        0,
        0,
        tp,
        generation_id=generation,
    )
