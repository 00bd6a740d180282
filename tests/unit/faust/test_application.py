"""The application's settings that were measured to lose nothing, and the co-location of a patient's topics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from faust.types import TP

from pipeline.adapters.faust.application import application, together
from pipeline.adapters.faust.batches import batch
from pipeline.adapters.faust.transport import BatchTransport
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.errors import Unavailable
from pipeline.ports import Batch, Received, Record
from pipeline.settings import Kafka
from schemas.topics import LABS


@pytest.mark.parametrize(
    ("assigned", "expected"),
    [
        ({("labs", 1), ("vitals", 1)}, True),
        ({("labs", 1), ("vitals", 1), ("labs", 3), ("vitals", 3)}, True),
        (set(), True),
        ({("labs", 1), ("vitals", 2)}, False),
        ({("labs", 1), ("labs", 2), ("vitals", 1)}, False),
        ({("labs", 1)}, False),
    ],
)
def test_together(assigned: set[tuple[str, int]], expected: bool) -> None:
    """The same numbers of every topic, or the worker must not go on."""
    assert together({TP(*each) for each in assigned}, ["labs", "vitals"]) is expected


def test_the_application_keeps_to_the_measured_rules(tmp_path: Path) -> None:
    """Batches, a short queue, a short session, Faust's own assignor, no topics made on the quiet, no web server."""
    app = application("group", Kafka(bootstrap_servers="a:9092, b:9093"), tmp_path / "not" / "there")
    assert isinstance(app.transport, BatchTransport)
    assert [f"{url.host}:{url.port}" for url in app.conf.broker] == ["a:9092", "b:9093"]
    assert app.conf.stream_buffer_maxsize == 8
    assert (app.conf.broker_session_timeout, app.conf.broker_heartbeat_interval) == (6, 2)
    assert app.conf.table_standby_replicas == 1
    assert app.conf.consumer_auto_offset_reset == "earliest"
    assert (app.conf.topic_allow_declare, app.conf.topic_disable_leader, app.conf.web_enabled) == (False, True, False)


async def test_a_worker_is_ready_with_its_partitions_and_all_that_it_needs(tmp_path: Path) -> None:
    """Not while they are given out anew, nor while a store is away."""
    app, away = application("ready", Kafka(bootstrap_servers="a:9092"), tmp_path), True

    async def store() -> None:
        if away:
            raise Unavailable("Postgres: away")

    await app.ready()
    app.needs.append(store)
    with pytest.raises(Unavailable, match="Postgres: away"):
        await app.ready()
    away = False
    await app.ready()
    app.rebalancing = True
    with pytest.raises(Unavailable, match="given out anew"):
        await app.ready()


async def test_faust_finds_every_key_where_our_producer_puts_it() -> None:
    """librdkafka as KafkaEventLog sets it up, on its own mock cluster, against aiokafka's partitioner."""
    cluster = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1, "log_level": 2})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    address = f"{broker.host}:{broker.port}"
    keys = [*(f"{number:032x}".encode() for number in range(500)), b"a", "ü".encode(), b"x" * 1000]
    log = KafkaEventLog(Kafka(bootstrap_servers=address))
    await log.append([Record(LABS, key, b"{}") for key in keys])
    await log.close()

    partitions = list(range(len(cluster.list_topics(timeout=10).topics["readfirst.labs"].partitions)))
    assert len(partitions) > 1
    partitioner = DefaultPartitioner()
    assert _places(address, partitions, len(keys)) == {key: partitioner(key, partitions, partitions) for key in keys}


def _places(address: str, partitions: list[int], count: int) -> dict[bytes | None, int | None]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "places", "enable.auto.commit": False})
    consumer.assign([TopicPartition("readfirst.labs", number, 0) for number in partitions])
    messages: list[Message] = []
    while len(messages) < count:
        fetched = consumer.consume(count, timeout=10)
        assert fetched, "the mock cluster does not hold them all"
        messages += fetched
    consumer.close()
    return {message.key(): message.partition() for message in messages}


def test_records_as_a_stage_gets_them() -> None:
    """Headers as text, whatever their bytes; a missing key or body is empty."""
    record = ConsumerRecord("x.labs", 3, 7, 0, 0, None, None, None, 0, 0, [("event_id", b"e"), ("odd", b"\xff")])
    event = SimpleNamespace(message=SimpleNamespace(tp=TP("x.labs", 3)), value=[record])
    assert batch([event], "x.") == Batch(LABS, 3, [Received(LABS, 3, 7, b"", b"", {"event_id": "e", "odd": "\ufffd"})])
