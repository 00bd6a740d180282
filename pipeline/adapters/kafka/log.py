"""The event log: an idempotent producer whose `append` returns when all in-sync replicas have the records."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.adapters.kafka.connection import client_config
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.errors import Unavailable
from pipeline.ports import Record
from pipeline.settings import Kafka
from schemas.topics import DEAD_LETTER_BYTES_MAX

log = structlog.get_logger()


PING_S = 1.5


class KafkaEventLog:
    """`ports.EventLog` on librdkafka. One a process; safe to call from one event loop."""

    def __init__(self, kafka: Kafka, *, timeout_s: float = 10.0) -> None:
        self._prefix = kafka.topic_prefix
        self._timeout = timeout_s
        self._config: dict[str, Any] = {
            **client_config(kafka),
            "enable.idempotence": True,
            "acks": "all",
            # Faust and the Java clients hash keys with murmur2; librdkafka's own default (CRC32) would put a patient on another partition.
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "compression.type": "lz4",
            "message.max.bytes": DEAD_LETTER_BYTES_MAX,
            "message.timeout.ms": int(timeout_s * 1000),
            "log_level": 2,
        }
        self._producer = Producer(self._config)
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._poller.start()

    async def append(self, records: Sequence[Record]) -> None:
        """See `ports.EventLog.append`."""
        if not records:
            return
        delivery, producer = _Delivery(len(records), asyncio.get_running_loop()), self._producer
        try:
            with TRACING.records("append", (record.headers for record in records)):
                for record in records:
                    await self._produce(producer, record, delivery)
                await asyncio.wait_for(delivery.done, self._timeout + 5)
        except (TimeoutError, BufferError, KafkaException) as error:
            raise Unavailable(f"Kafka did not take {len(records)} records: {error}") from error

    async def ping(self) -> None:
        """Raises Unavailable unless the broker answers in PING_S and each partition of our topics has somebody to write to."""
        try:
            found = await asyncio.to_thread(self._producer.list_topics, timeout=PING_S)
        except KafkaException as error:
            raise Unavailable(f"Kafka does not answer: {error}") from error
        ours = (topic for name, topic in found.topics.items() if name.startswith(self._prefix))
        if headless := [topic.topic for topic in ours if any(part.leader < 0 for part in topic.partitions.values())]:
            raise Unavailable(f"Kafka has no leader for {', '.join(sorted(headless))}")

    async def close(self) -> None:
        """Waits for what is under way, at most the delivery timeout."""
        await asyncio.to_thread(self._producer.flush, self._timeout)
        self._closing.set()
        await asyncio.to_thread(self._poller.join, 2)

    async def _produce(self, producer: Producer, record: Record, delivery: _Delivery) -> None:
        for _ in range(100):
            try:
                producer.produce(
                    self._prefix + record.topic.name,
                    key=record.key,
                    value=record.value,
                    headers={name: value.encode() for name, value in record.headers.items()},
                    on_delivery=delivery.delivered,
                )
                return
            except BufferError:  # the local queue is full: let deliveries drain
                await asyncio.sleep(0.02)
        raise BufferError("the producer's local queue stayed full")

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                self._producer.poll(0.1)
            except KafkaException as error:  # poll raises nothing but fatal errors
                self._renew(error.args[0])

    def _renew(self, cause: KafkaError) -> None:
        """An idempotent producer that met a fatal error never sends again: a new one takes its place, the old one's callers are told."""
        log.warning("kafka_producer_renewed", code=cause.name())
        old, self._producer = self._producer, Producer(self._config)
        old.purge()
        with suppress(KafkaException):
            old.flush(1)


class _Delivery:
    """Counts delivery reports, which arrive on the poller's thread, and wakes the waiting coroutine."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._left = count
        self._loop = loop
        self._error: KafkaError | None = None
        self.done: asyncio.Future[None] = loop.create_future()

    def delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._error = self._error or error
        self._left -= 1
        if self._left == 0:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.done.done():
            return
        if self._error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(KafkaException(self._error))
