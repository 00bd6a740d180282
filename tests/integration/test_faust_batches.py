"""The way from Kafka to a stage: whole batches in order, holes read again, errors end the process, one patient's topics on one worker."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.local.process import Child, Launch
from pipeline.adapters.postgres.batches import PostgresOffsets
from pipeline.adapters.postgres.database import Database
from pipeline.ports import Record
from pipeline.settings import Kafka
from schemas.topics import INPUTS, LABS, VITALS, Topic
from tests.integration.recording_worker import Plan
from tests.store_fixtures import place

Line = dict[str, Any]
KEY = b"one patient"


class Worker:
    """The process of recording_worker.py, and what it has said."""

    def __init__(self, plan: Plan, log: Path) -> None:
        argv = [sys.executable, "-m", "tests.integration.recording_worker", json.dumps(asdict(plan))]
        self._log = log
        self.child = Child(Launch(argv, log, dict(os.environ), orphan_signal=signal.SIGKILL))

    @property
    def said(self) -> list[Line]:
        """Its lines, in order; the last one may not be whole yet."""
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]

    @property
    def text(self) -> str:
        """All that is in its log."""
        return self._log.read_text()

    def fresh(self, topic: Topic = LABS) -> list[int]:
        """Offsets that had their effect, in order, of the one partition that has records."""
        return [offset for line in self.said if line.get("topic") == topic.name for offset in line.get("fresh", [])]

    async def until(self, done: Callable[[], bool]) -> None:
        """Waits; AssertionError with its log when it takes too long."""
        for _ in range(2400):
            if done():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(self.text[-4000:])


class Bench:
    """Topics and a consumer group of one test's own."""

    def __init__(self, kafka: str, dsn: str, folder: Path) -> None:
        name = secrets.token_hex(4)
        self.kafka = Kafka(bootstrap_servers=kafka, topic_prefix=f"{name}.")
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.folder = folder
        self.plan = Plan(kafka, f"{name}.", dsn, f"group-{name}", [LABS.name], str(folder / "faust"))
        topics.create(self.kafka)

    async def send(self, count: int, topic: Topic = LABS) -> int:
        """Records of one key; returns their partition."""
        log = KafkaEventLog(self.kafka)
        for _ in range(count):
            await log.append([Record(topic, KEY, b"{}")])
        await log.close()
        return await asyncio.to_thread(lambda: next(number for number in range(self.kafka.partitions) if self.end(topic, number)))

    def end(self, topic: Topic, number: int) -> int:
        """The log's end, once a new topic has its leader."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": "end"})
        try:
            for _ in range(50):
                with suppress(KafkaException):
                    return int(consumer.get_watermark_offsets(self.place(topic, number), timeout=10)[1])
                time.sleep(0.2)
            raise AssertionError("the new topic has no leader")
        finally:
            consumer.close()

    def place(self, topic: Topic, number: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        """librdkafka's words for it."""
        return TopicPartition(self.plan.prefix + topic.name, number, offset)

    def commit(self, topic: Topic, number: int, offset: int) -> None:
        """As if the group had consumed so far; a worker that has ended may be its member for some seconds more."""
        request = ConsumerGroupTopicPartitions(self.plan.group, [self.place(topic, number, offset)])
        for tries_left in range(29, -1, -1):
            try:
                self.admin.alter_consumer_group_offsets([request])[self.plan.group].result(60)
                return
            except KafkaException:
                if not tries_left:
                    raise
                time.sleep(1)

    def committed(self, topic: Topic, number: int) -> int:
        """Where the group would go on."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.plan.group})
        try:
            return int(consumer.committed([self.place(topic, number)], timeout=60)[0].offset)
        finally:
            consumer.close()

    @contextmanager
    def worker(self, name: str = "worker", **changes: Any) -> Iterator[Worker]:
        """A running worker."""
        worker = Worker(replace(self.plan, data=str(self.folder / f"faust-{name}"), **changes), self.folder / f"{name}.log")
        try:
            yield worker
        finally:
            worker.child.stop()


@pytest.fixture
def bench(kafka: str, migrated: Callable[[], str], tmp_path: Path) -> Bench:
    """A real broker, a database at the newest revision."""
    return Bench(kafka, migrated(), tmp_path)


async def test_a_backlog_comes_in_few_batches_and_in_order(bench: Bench) -> None:
    """One message for each fetched partition batch; what is consumed is committed, up to the end."""
    number = await bench.send(300)
    with bench.worker() as worker:
        await worker.until(lambda: len(worker.fresh()) >= 300)
        assert worker.fresh() == list(range(300))
        assert len([line for line in worker.said if line.get("offsets")]) < 30
        await worker.until(lambda: bench.committed(LABS, number) == 300)
        worker.child.signal(signal.SIGTERM)
        await worker.until(lambda: worker.child.exit_code() is not None)
        assert worker.child.exit_code() == 0
        assert "\x1b" not in worker.text, "no terminal codes in a log"


async def test_what_was_skipped_is_read_again(bench: Bench) -> None:
    """Kafka's commit has jumped over records (Faust can do that when a rebalance settles): the applied offset tells, and they are read."""
    number = await bench.send(20)
    bench.commit(LABS, number, 12)
    with bench.worker() as worker:
        await worker.until(lambda: len(worker.fresh()) >= 20)
        await bench.send(5)
        await worker.until(lambda: len(worker.fresh()) >= 25)
        assert worker.fresh() == list(range(25))
        assert [line["gap"] for line in worker.said if "gap" in line][:1] == [0]
        await worker.until(lambda: bench.committed(LABS, number) == 25)


async def test_what_was_applied_is_not_applied_again(bench: Bench) -> None:
    """Kafka's commit was lost: the batches come again, and have no effect again."""
    number = await bench.send(10)
    with bench.worker("first") as first:
        await first.until(lambda: len(first.fresh()) == 10)
    bench.commit(LABS, number, 3)
    with bench.worker("second") as second:
        await second.until(lambda: bench.committed(LABS, number) == 10)
        assert second.fresh() == []
        assert [line["offsets"] for line in second.said if "offsets" in line] == [list(range(3, 10))]


async def test_what_retention_removed_is_an_alarm_and_not_the_end(bench: Bench) -> None:
    """Records that are gone for good are said to be lost; the rest is read."""
    number = await bench.send(20)
    bench.commit(LABS, number, 15)
    bench.admin.delete_records([bench.place(LABS, number, 8)])[bench.place(LABS, number, 8)].result(10)
    with bench.worker() as worker:
        await worker.until(lambda: bench.committed(LABS, number) == 20)
        assert worker.fresh() == list(range(8, 20))
        assert "records_lost_to_retention" in worker.text


async def test_a_log_that_lost_its_tail_stops_the_worker(bench: Bench) -> None:
    """Kafka was made anew while Postgres kept its offsets: new records must not pass for old ones."""
    number = await bench.send(10)
    async with (
        Database(bench.plan.dsn) as database,
        PostgresOffsets(database).begin(bench.plan.group, [place(LABS, number)]) as transaction,
    ):
        await transaction.advance({place(LABS, number): 50})
    with bench.worker() as worker:
        await worker.until(lambda: worker.child.exit_code() is not None)
        assert worker.child.exit_code() == 70
        assert "ends at 10, but 50 was applied" in worker.text
    assert bench.committed(LABS, number) < 0


async def test_an_error_ends_the_process_and_the_batch_comes_again(bench: Bench) -> None:
    """Nothing of the failed batch is committed; Faust would have skipped it."""
    number = await bench.send(10)
    once = str(bench.folder / "failed")
    with bench.worker("first", fail_at=7, once=once) as first:
        await first.until(lambda: first.child.exit_code() is not None)
        assert first.child.exit_code() == 70
        assert 7 not in first.fresh()
    assert bench.committed(LABS, number) <= 7
    with bench.worker("second", fail_at=7, once=once) as second:
        await second.until(lambda: bench.committed(LABS, number) == 10)
        assert first.fresh() + second.fresh() == list(range(10))


async def test_a_server_that_does_not_answer_once_ends_nothing(bench: Bench) -> None:
    """The same process hands the same batch over again, and all that waits behind it after it."""
    number = await bench.send(10)
    with bench.worker("worker", fail_at=7, away=True, once=str(bench.folder / "failed")) as worker:
        await worker.until(lambda: bench.committed(LABS, number) == 10)
        assert worker.child.exit_code() is None
        assert worker.fresh() == list(range(10))
        assert "stage_waits" in worker.text


async def test_a_stage_that_cannot_be_made_ends_the_process(bench: Bench) -> None:
    """Faust would try again for ever, and the worker go on saying that it lives."""
    with bench.worker("broken", broken=True) as worker:
        await worker.until(lambda: worker.child.exit_code() is not None)
        assert worker.child.exit_code() == 70
        assert "as planned" in worker.text


async def test_a_stage_that_stands_still_is_noticed(bench: Bench) -> None:
    """Heartbeats and sessions go on when a batch never ends; the worker itself must see it, and stop to be started again."""
    number = await bench.send(10)
    once = str(bench.folder / "hung")
    with bench.worker("first", hang_at=0, once=once, stalled_after_s=4.0) as first:
        await first.until(lambda: first.child.exit_code() is not None)
        assert first.child.exit_code() == 70
        assert "records wait" in first.text
    with bench.worker("second") as second:
        await second.until(lambda: bench.committed(LABS, number) == 10)
        assert second.fresh() == list(range(10))


async def test_a_stage_that_has_nothing_to_do_does_not_stand_still(bench: Bench) -> None:
    """Idle for longer than a standstill takes to be noticed, after work and after a restart: records that are done do not wait."""
    number = await bench.send(10)
    with bench.worker("first") as first:
        await first.until(lambda: bench.committed(LABS, number) == 10)
    with bench.worker("second", stalled_after_s=4.0) as second:  # what is committed is known a moment after the assignment
        await second.until(lambda: "assigned" in second.text)
        await asyncio.sleep(8)
        assert second.child.exit_code() is None


async def test_equal_numbers_of_all_topics_stay_together(bench: Bench) -> None:
    """With one, two and three workers: a patient's topics are on one worker, every partition is on exactly one."""
    names = [topic.name for topic in INPUTS]
    everything = {(name, number) for name in names for number in range(bench.kafka.partitions)}
    with bench.worker("a", topics=names) as a, bench.worker("b", topics=names) as b, bench.worker("c", topics=names) as c:
        workers = [a, b, c]

        def settled() -> bool:
            held = [_assigned(each) for each in workers]
            return all(held) and sum(map(len, held)) == len(everything) and set().union(*held) == everything

        await a.until(settled)
        assert all(_are_together(_assigned(each), names) for each in workers), [_assigned(each) for each in workers]
        await bench.send(5, LABS)
        await bench.send(5, VITALS)
        await a.until(lambda: sum(len(each.fresh(LABS)) + len(each.fresh(VITALS)) for each in workers) == 10)
        owners = [each for each in workers if each.fresh(LABS) or each.fresh(VITALS)]
        assert len(owners) == 1
        owners[0].child.signal(signal.SIGTERM)
        await a.until(lambda: owners[0].child.exit_code() is not None)
        workers.remove(owners[0])
        await a.until(settled)
        assert all(_are_together(_assigned(each), names) for each in workers)


def _assigned(worker: Worker) -> set[tuple[str, int]]:
    last = [line["assigned"] for line in worker.said if "assigned" in line][-1:]
    return {(topic, number) for assigned in last for topic, number in assigned}


def _are_together(assigned: set[tuple[str, int]], names: Sequence[str]) -> bool:
    return all({number for name, number in assigned if name == each} == {number for _, number in assigned} for each in names)
