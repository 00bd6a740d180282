"""The dead letters, read from their topic for people, and sent again to where they came from."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.adapters.kafka.connection import client_config
from pipeline.errors import NotFound, Unavailable
from pipeline.ports import Record
from pipeline.settings import Kafka
from schemas import codec
from schemas.dead_letter import DeadLetter
from schemas.topics import BY_NAME, DLQ


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

    def get(self, partition: int, offset: int) -> DeadLetter:
        """Raises NotFound."""
        for number, position, letter in self.read():
            if (number, position) == (partition, offset):
                return letter
        raise NotFound(f"there is no dead letter {partition}:{offset}")


def redrive(letter: DeadLetter) -> Record:
    """The record as it first came, marked as a possible redelivery. Raises NotFound where it came from no topic of ours."""
    topic = BY_NAME.get(letter.topic)
    if topic is None:
        raise NotFound(f"the dead letter came from {letter.topic!r}, which is no topic")
    return Record(topic, (letter.key or "").encode(), letter.body, {**letter.headers, "redelivery": "1"})
