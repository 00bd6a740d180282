"""The dead letters, read from their topic for people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.adapters.kafka.connection import client_config
from pipeline.errors import NotFound, Unavailable
from pipeline.ports.operations import LetterPlace
from pipeline.settings import Kafka
from schemas import codec
from schemas.dead_letter import DeadLetter
from schemas.topics import DLQ


class KafkaDeadLetters:
    """Reads the dlq topic from its beginning to its present end; commits nothing."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    def read(self, timeout_s: float = 10.0) -> Iterator[tuple[int, int, DeadLetter]]:
        """(partition, offset, letter), partition by partition, oldest first. Raises Unavailable."""
        consumer = Consumer({**client_config(self._kafka), "group.id": "readfirst-dlq-reader", "enable.auto.commit": False, "log_level": 2})
        name = self._kafka.topic_prefix + DLQ.name
        try:
            for number in range(self._kafka.partitions):
                low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=timeout_s)
                consumer.assign([TopicPartition(name, number, low)])
                position = low
                while position < high:
                    message = consumer.poll(timeout_s)
                    if message is None or message.error():
                        raise Unavailable(f"the dlq topic could not be read: {message.error() if message else 'no answer'}")
                    offset = int(message.offset() or 0)
                    position = offset + 1
                    if message.value() is not None:
                        yield number, offset, codec.decode(DLQ, message.value())
        except KafkaException as error:
            raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
        finally:
            consumer.close()


class KafkaLetterTopic:
    """LetterTopic. Reading goes on in a thread: it may take seconds."""

    def __init__(self, kafka: Kafka) -> None:
        self._letters = KafkaDeadLetters(kafka)

    async def read(self) -> Sequence[tuple[LetterPlace, DeadLetter]]:
        """As LetterTopic.read."""
        found = await asyncio.to_thread(lambda: list(self._letters.read()))
        return [(LetterPlace(number, offset), letter) for number, offset, letter in found]

    async def get(self, place: LetterPlace) -> DeadLetter:
        """As LetterTopic.get. Reads all: letters are few, or the intake is stopped."""
        for found, letter in await self.read():
            if found == place:
                return letter
        raise NotFound(f"there is no dead letter {place}")
