"""The topics of `schemas.topics` on a broker: made, checked, measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic, sleep

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from pipeline.adapters.kafka.connection import LEADER_IS_SOUGHT, client_config
from pipeline.errors import StackError, Unavailable
from pipeline.settings import Kafka
from schemas.topics import DEAD_LETTER_BYTES_MAX, DLQ, RECORD_BYTES_MAX, TOPICS, Topic

_NOT_KNOWN_YET = LEADER_IS_SOUGHT | {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.REQUEST_TIMED_OUT, KafkaError._TIMED_OUT}
_COORDINATOR_IS_SOUGHT = {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}


def create(kafka: Kafka, timeout_s: float = 60.0) -> list[str]:
    """Makes the topics that are missing, with the table's retention and cleanup; returns their names. Raises Unavailable.

    timeout_s: of each of its steps; a busy broker takes half a minute for a hundred new partitions.
    """
    admin = AdminClient({**client_config(kafka), "log_level": 2})
    wanted = [
        NewTopic(
            kafka.topic_prefix + topic.name, kafka.partitions, kafka.replication_factor, config=_config(topic, kafka.replication_factor)
        )
        for topic in TOPICS
    ]
    created = []
    for name, future in admin.create_topics(wanted, request_timeout=timeout_s, operation_timeout=timeout_s).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unavailable(f"topic {name} could not be made: {error.args[0].str()}") from error
    _await_known(kafka, timeout_s)
    _await_leaders(kafka, admin, timeout_s)
    return created


def _await_known(kafka: Kafka, timeout_s: float) -> None:
    """A broker may answer for a moment as if it had not made what it has just made."""
    deadline = monotonic() + min(timeout_s, 20.0)
    while True:
        try:
            return check(kafka, timeout_s)
        except StackError:
            if monotonic() > deadline:
                raise
            sleep(0.1)


def _await_leaders(kafka: Kafka, admin: AdminClient, timeout_s: float) -> None:
    """A broker may for another moment, under load for seconds, not know that it leads a partition that it has just made: whoever asked for
    its end would be refused. Raises Unavailable."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(kafka.topic_prefix + topic.name, number): latest for topic in TOPICS for number in range(kafka.partitions)}
    deadline = monotonic() + timeout_s
    while True:
        try:
            for answer in admin.list_offsets(asked, request_timeout=timeout_s).values():
                answer.result()
            return
        except KafkaException as error:
            if error.args[0].code() not in _NOT_KNOWN_YET or monotonic() > deadline:
                raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
            sleep(0.1)


def check(kafka: Kafka, timeout_s: float = 10.0) -> None:
    """All topics are there with the settings' partition count. Raises StackError (a patient's story would be torn apart otherwise)."""
    try:
        found = AdminClient({**client_config(kafka), "log_level": 2}).list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer at {kafka.bootstrap_servers}: {error.args[0].str()}") from error
    for topic in TOPICS:
        metadata = found.get(kafka.topic_prefix + topic.name)
        if metadata is None:
            raise StackError(f"topic {kafka.topic_prefix}{topic.name} is missing", "run: readfirst run topics")
        if len(metadata.partitions) != kafka.partitions:
            raise StackError(
                f"topic {kafka.topic_prefix}{topic.name} has {len(metadata.partitions)} partitions, the settings say {kafka.partitions}",
                "set READFIRST_KAFKA__PARTITIONS to the count in use; it cannot change later",
            )


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a consumer group is behind on a topic, in records; `committed` and `end` are sums over the partitions."""

    group: str
    topic: str
    committed: int
    end: int

    @property
    def records(self) -> int:
        """Records not yet consumed."""
        return self.end - self.committed


def lag(kafka: Kafka, readers: Iterable[tuple[str, Topic]], timeout_s: float = 10.0) -> list[Lag]:
    """The lag of each (consumer group, topic). Raises Unavailable.

    Asked as a consumer that joins nothing: librdkafka's admin requests about groups can end the process while a coordinator is being
    found (librdkafka issues 3663, 4605; seen with 2.16 after a broker's restart).
    """
    consumers: dict[str, Consumer] = {}
    try:
        return [_lag(_consumer_of(consumers, kafka, group), kafka, group, topic, timeout_s) for group, topic in readers]
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
    finally:
        for consumer in consumers.values():
            consumer.close()


def _consumer_of(consumers: dict[str, Consumer], kafka: Kafka, group: str) -> Consumer:
    if group not in consumers:
        consumers[group] = Consumer({**client_config(kafka), "group.id": group, "enable.auto.commit": False, "log_level": 2})
    return consumers[group]


def _lag(consumer: Consumer, kafka: Kafka, group: str, topic: Topic, timeout_s: float) -> Lag:
    places = [TopicPartition(kafka.topic_prefix + topic.name, number) for number in range(kafka.partitions)]
    end = start = 0
    for place in _committed(consumer, places, timeout_s):
        low, high = consumer.get_watermark_offsets(place, timeout=timeout_s)
        end += high
        start += max(place.offset, low)
    return Lag(group, topic.name, start, end)


def _committed(consumer: Consumer, places: list[TopicPartition], timeout_s: float) -> list[TopicPartition]:
    """Asked again while the group's coordinator is being found: a broker that has just made its offsets topic answers for another moment
    that it is not the one.
    """
    deadline = monotonic() + timeout_s
    while True:
        try:
            return consumer.committed(places, timeout=timeout_s)
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_IS_SOUGHT or monotonic() > deadline:
                raise
            sleep(0.1)


def _config(topic: Topic, replicas: int) -> dict[str, str]:
    """All replicas but one must have a record before it is acknowledged: Kafka's own default, one, would let `acks=all` mean the leader."""
    shared = {"message.timestamp.type": "CreateTime", "min.insync.replicas": str(max(1, replicas - 1))}
    if topic.retention is None:
        return {**shared, "cleanup.policy": "compact"}
    return {
        **shared,
        "cleanup.policy": "delete",
        "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
        "max.message.bytes": str(DEAD_LETTER_BYTES_MAX if topic is DLQ else RECORD_BYTES_MAX),
    }
