"""The contract of EventLog, held by the memory twin and by Kafka."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.memory.event_log import MemoryEventLog, partition_of
from pipeline.errors import Unavailable
from pipeline.ports import EventLog, Record
from pipeline.settings import Kafka
from schemas.topics import LABS, TOPICS, WORKLIST, Topic

PARTITIONS = 8
Stored = tuple[int, bytes, bytes | None, dict[str, str]]
"""(partition, key, value, headers)"""
Read = Callable[[Topic, int], list[Stored]]


@pytest.fixture
async def on_kafka(kafka: str) -> AsyncIterator[tuple[EventLog, Read]]:
    """Topics of their own on a real broker."""
    settings = Kafka(bootstrap_servers=kafka, topic_prefix=f"log-{secrets.token_hex(4)}.", partitions=PARTITIONS)
    await asyncio.to_thread(topics.create, settings)
    log = KafkaEventLog(settings)
    yield log, lambda topic, count: _consume(settings, topic, count)
    await log.close()


@pytest.fixture(params=["memory", "kafka"])
def log_and_read(request: pytest.FixtureRequest) -> tuple[EventLog, Read]:
    """An empty log and a way to read it back."""
    if request.param == "kafka":
        found: tuple[EventLog, Read] = request.getfixturevalue("on_kafka")
        return found
    log = MemoryEventLog(PARTITIONS)
    return log, lambda topic, _: [
        (partition_of(record.key, PARTITIONS), record.key, record.value, dict(record.headers)) for record in log.records(topic)
    ]


async def test_records_are_there_when_append_returns(log_and_read: tuple[EventLog, Read]) -> None:
    """Key, value and headers as given, a key's records in order; a None value is a tombstone; nothing to append is no error."""
    log, read = log_and_read
    await log.append([])
    await log.append([Record(LABS, b"p1", b"1", {"event_id": "a", "source": "Röntgen"}), Record(WORKLIST, b"1.2", None)])
    await log.append([Record(LABS, b"p1", b"2"), Record(LABS, b"p1", b"3")])
    labs = await asyncio.to_thread(read, LABS, 3)
    worklist = await asyncio.to_thread(read, WORKLIST, 1)

    assert [(key, value) for _, key, value, _ in labs] == [(b"p1", b"1"), (b"p1", b"2"), (b"p1", b"3")]
    assert [headers for *_, headers in labs] == [{"event_id": "a", "source": "Röntgen"}, {}, {}]
    assert [(key, value) for _, key, value, _ in worklist] == [(b"1.2", None)]


async def test_a_key_has_the_partition_that_java_and_faust_give_it(log_and_read: tuple[EventLog, Read]) -> None:
    """murmur2 for every key, short, long, or not ASCII: a patient's records of all topics and producers lie in the same partition."""
    log, read = log_and_read
    keys = [*(f"{number:032x}".encode() for number in range(500)), b"a", "ü".encode(), b"x" * 1000, b"\0"]
    await log.append([Record(LABS, key, b"{}") for key in keys])
    stored = await asyncio.to_thread(read, LABS, len(keys))

    assert {key: partition for partition, key, *_ in stored} == {key: partition_of(key, PARTITIONS) for key in keys}


async def test_topics_have_what_the_table_says(kafka: str) -> None:
    """Partitions, retention and cleanup, as the broker itself tells them."""
    settings = Kafka(bootstrap_servers=kafka, topic_prefix=f"table-{secrets.token_hex(4)}.", partitions=3)
    made = await asyncio.to_thread(topics.create, settings)
    admin = AdminClient({"bootstrap.servers": kafka})
    asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name) for name in made])
    told = {resource.name.removeprefix(settings.topic_prefix): future.result(60) for resource, future in asked.items()}
    found = {name: (config["cleanup.policy"].value, int(config["retention.ms"].value)) for name, config in told.items()}

    assert set(found) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        if topic.retention is None:
            assert found[topic.name][0] == "compact"
        else:
            assert found[topic.name] == ("delete", topic.retention / timedelta(milliseconds=1))
    known = admin.list_topics(timeout=60).topics
    assert {len(known[name].partitions) for name in made} == {3}


async def test_topics_are_made_when_their_leaders_know_it(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy broker does not at once: who asked it for a new partition's end before that would be refused."""
    codes = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError._TIMED_OUT)
    refusals = [KafkaException(KafkaError(code)) for code in codes]

    class Busy(AdminClient):
        def list_offsets(self, asked: Any, **options: Any) -> dict[Any, Future[Any]]:
            answers: dict[Any, Future[Any]] = super().list_offsets(asked, **options)
            if refusals:
                place = next(iter(answers))
                answers[place] = Future()
                answers[place].set_exception(refusals.pop())
            return answers

    monkeypatch.setattr(topics, "AdminClient", Busy)
    settings = Kafka(bootstrap_servers=kafka, topic_prefix=f"leaders-{secrets.token_hex(4)}.", partitions=2)
    assert len(await asyncio.to_thread(topics.create, settings)) == len(TOPICS)
    assert refusals == []


@pytest.mark.parametrize(("replicas", "needed"), [(1, "1"), (2, "1"), (3, "2")])
def test_an_acknowledged_record_is_on_more_than_its_leader(replicas: int, needed: str) -> None:
    """On a cluster: acks=all alone means those replicas that happen to be in step, which may be one."""
    assert {topics._config(topic, replicas)["min.insync.replicas"] for topic in TOPICS} == {needed}


async def test_a_broker_that_is_away_is_unavailable() -> None:
    """Within the time limit, and the caller is told."""
    log = KafkaEventLog(Kafka(bootstrap_servers="127.0.0.1:1"), timeout_s=1.0)
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable):
            await log.append([Record(LABS, b"p1", b"{}")])
        await log.close()


async def test_an_ordered_failure_keeps_what_was_written() -> None:
    """The twin can fail as Kafka does: some of the records are there all the same."""
    log = MemoryEventLog(PARTITIONS)
    log.fail_next(written=1)
    with pytest.raises(Unavailable):
        await log.append([Record(LABS, b"p1", b"1"), Record(LABS, b"p1", b"2")])
    await log.append([Record(LABS, b"p1", b"1"), Record(LABS, b"p1", b"2")])

    assert [record.body for record in log.received(LABS, partition_of(b"p1", PARTITIONS), start=1)] == [b"1", b"2"]


def _consume(settings: Kafka, topic: Topic, count: int) -> list[Stored]:
    consumer = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": secrets.token_hex(4), "enable.auto.commit": False})
    consumer.assign([TopicPartition(settings.topic_prefix + topic.name, partition, 0) for partition in range(PARTITIONS)])
    found: list[Stored] = []
    deadline = time.monotonic() + 120
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(500, timeout=0.5):
            assert message.error() is None
            headers = {name: value.decode() for name, value in message.headers() or []}
            found.append((message.partition(), message.key(), message.value(), headers))
    consumer.close()
    return found
