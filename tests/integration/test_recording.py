"""`readfirst record` on a real Kafka: once through, gone on with, between two times, and following."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.errors import NotFound
from pipeline.ports import Record
from pipeline.replay import recording
from pipeline.replay.builder import patient
from pipeline.replay.log_file import LogReader
from pipeline.replay.recording import Recorded, Wanted, record, topics_named
from pipeline.replay.small_log import SmallLog
from pipeline.settings import Kafka
from schemas.topics import BY_NAME, LABS, ORDERS

WITHIN_S = 120


@pytest.fixture
def kafka_settings(kafka: str) -> Kafka:
    """Topics of this test's own."""
    settings = Kafka(bootstrap_servers=kafka, topic_prefix=f"record-{secrets.token_hex(4)}.", partitions=2)
    topics.create(settings)
    return settings


def story(name: str) -> list[Record]:
    """Three inputs of one patient."""
    told = patient(name).order(f"A{name}", "CT HEAD", at="09:00").ct("HEAD", f"A{name}", at="09:10").lab("K", 6.8, at="09:20")
    return [Record(BY_NAME[one.topic], one.key, one.value, one.headers) for one in SmallLog.of(told).records]


def send(settings: Kafka, records: list[Record]) -> None:
    """To Kafka, acknowledged."""

    async def run() -> None:
        log = KafkaEventLog(settings)
        await log.append(records)
        await log.close()

    asyncio.run(run())


def bodies(path: Path) -> list[bytes]:
    """What the log holds."""
    return sorted(one.value or b"" for one in LogReader(path))


def values(*parts: list[Record]) -> list[bytes]:
    """What was sent."""
    return sorted(one.value or b"" for part in parts for one in part)


def test_a_log_is_gone_on_with_and_cut_by_time(kafka_settings: Kafka, tmp_path: Path) -> None:
    """Appended: each record once, from where the log ends. By time and topic: what came between, and no other; the header has the rules."""
    whole, later, only = (tmp_path / f"{name}.rfl" for name in ("whole", "later", "only"))
    first, second = story("P1"), story("P2")
    send(kafka_settings, first)
    done = record(kafka_settings, whole, Wanted(), "mine/3")
    time.sleep(0.05)
    between = datetime.now(UTC)
    time.sleep(0.05)
    send(kafka_settings, second)

    assert (done.records, bodies(whole)) == (len(first), values(first))
    assert record(kafka_settings, whole, Wanted(), "mine/3", append=True).records == len(second)
    assert record(kafka_settings, whole, Wanted(), "mine/3", append=True).records == 0
    assert bodies(whole) == values(first, second)
    record(kafka_settings, later, Wanted(begin=between), "mine/3")
    assert bodies(later) == values(second)
    record(kafka_settings, only, Wanted(topics_named(["orders"]), end=between), "mine/3")
    assert bodies(only) == values([one for one in first if one.topic is ORDERS])
    header = LogReader(whole).header
    assert (header.policy, header.partitions, header.schemas[LABS.name]) == ("mine/3", 2, "observation/1")


def test_a_recorder_that_follows_has_what_came_meanwhile(kafka_settings: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to stop, it closes a whole log, of which parts stood in the file before."""
    monkeypatch.setattr(recording, "FLUSH_S", 0.0)
    path, sent, written, stop = tmp_path / "following.rfl", story("P3"), [0], threading.Event()

    def follow() -> Recorded:
        return record(
            kafka_settings, path, Wanted(follow=True), "mine/3", stopping=stop.is_set, progress=lambda done, _: written.append(done)
        )

    with ThreadPoolExecutor(1) as beside:
        following = beside.submit(follow)
        try:
            for one in sent:
                send(kafka_settings, [one])
                deadline, before = time.monotonic() + WITHIN_S, written[-1]
                while written[-1] == before and not following.done():
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        finally:
            stop.set()

    assert following.result().records == len(sent)
    assert bodies(path) == values(sent)


def test_an_unknown_topic_is_an_error_with_the_known_ones() -> None:
    """Before anything is written."""
    with pytest.raises(NotFound, match="no topic 'lab'; there are: imaging"):
        topics_named(["lab"])
