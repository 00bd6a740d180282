"""The dead letters, read from their topic for people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.adapters.kafka.connection import client_config
from pipeline.errors import NotFound, Unavailable
from pipeline.ports.operations import LetterPlace
from pipeline.settings import Kafka
from schemas import codec
from schemas.dead_letter import DeadLetter
from schemas.topics import DLQ


class KafkaDeadLetters:
    """Reads the dlq topic from its beginning to its present end; joins no group, commits nothing."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._name = kafka.topic_prefix + DLQ.name

    def read(self, timeout_s: float = 10.0) -> list[tuple[int, int, DeadLetter]]:
        """(partition, offset, letter), partition by partition, oldest first. Raises Unavailable."""
        with self._consumer() as consumer:
            spans = {number: self._span(consumer, number, timeout_s) for number in range(self._kafka.partitions)}
            left = {number: end for number, (begin, end) in spans.items() if begin < end}
            consumer.assign([TopicPartition(self._name, number, spans[number][0]) for number in left])
            found = []
            while left:
                message = _next(consumer, timeout_s)
                number, offset = message.partition() or 0, message.offset() or 0
                if offset + 1 >= left.get(number, 0):
                    left.pop(number, None)
                if offset < spans[number][1] and (value := message.value()) is not None:
                    found.append((number, offset, codec.decode(DLQ, value)))
            return sorted(found, key=lambda row: row[:2])

    def get(self, place: LetterPlace, timeout_s: float = 10.0) -> DeadLetter:
        """One. Raises NotFound, Unavailable."""
        with self._consumer() as consumer:
            begin, end = self._span(consumer, place.partition, timeout_s) if place.partition < self._kafka.partitions else (0, 0)
            if not begin <= place.offset < end:
                raise NotFound(f"there is no dead letter {place}")
            consumer.assign([TopicPartition(self._name, place.partition, place.offset)])
            letter: DeadLetter = codec.decode(DLQ, _next(consumer, timeout_s).value() or b"")
            return letter

    def _span(self, consumer: Consumer, number: int, timeout_s: float) -> tuple[int, int]:
        return consumer.get_watermark_offsets(TopicPartition(self._name, number), timeout=timeout_s)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer({**client_config(self._kafka), "group.id": "readfirst-dlq-reader", "enable.auto.commit": False, "log_level": 2})
        try:
            yield consumer
        except KafkaException as error:
            raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
        finally:
            consumer.close()


def _next(consumer: Consumer, timeout_s: float) -> Message:
    message = consumer.poll(timeout_s)
    if message is None or message.error():
        raise Unavailable(f"the dlq topic could not be read: {message.error() if message else 'no answer'}")
    return message


class KafkaLetterTopic:
    """LetterTopic. Reading goes on in a thread: it may take seconds."""

    def __init__(self, kafka: Kafka) -> None:
        self._letters = KafkaDeadLetters(kafka)

    async def read(self) -> Sequence[tuple[LetterPlace, DeadLetter]]:
        """As LetterTopic.read."""
        return [(LetterPlace(number, offset), letter) for number, offset, letter in await asyncio.to_thread(self._letters.read)]

    async def get(self, place: LetterPlace) -> DeadLetter:
        """As LetterTopic.get."""
        return await asyncio.to_thread(self._letters.get, place)
