"""The event log, lag and dead letters while Kafka dies and comes back."""

from __future__ import annotations

import asyncio
import ctypes
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.dead_letters import KafkaDeadLetters
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.local.kafka import KafkaServer
from pipeline.adapters.local.network import reserved
from pipeline.adapters.local.process import Child, wait_until_ready
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.errors import NotFound, StackError, Unavailable
from pipeline.ports import Received, Record
from pipeline.services.context import ContextStage
from pipeline.services.letters import resend
from pipeline.settings import Kafka
from schemas import codec
from schemas.dead_letter import DeadLetter
from schemas.identifiers import event_id
from schemas.topics import DLQ, LABS, TOPICS, Topic
from tests.store_fixtures import batch, fact

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Broker:
    """A broker of this file's own, so that it may be killed."""

    server: KafkaServer
    child: Child

    @property
    def settings(self) -> Kafka:
        """How to reach it."""
        return Kafka(bootstrap_servers=self.server.bootstrap_servers)

    def kill(self) -> None:
        """kill -9."""
        self.child.signal(signal.SIGKILL)
        self.child.wait(10)

    def start(self) -> None:
        """Again, on the same folder and port."""
        self.child = Child(self.server.launch())
        wait_until_ready(self.child, self.server.ready, "kafka", 240)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """With our topics."""
    folder = tmp_path_factory.mktemp("mortal")
    with reserved(2) as (port, controller_port):
        server = KafkaServer(folder, port, controller_port, folder / "kafka.log")
        server.prepare(lambda part, what: None)
        running = Broker(server, Child(server.launch()))
        try:
            wait_until_ready(running.child, server.ready, "kafka", 240)
            topics.create(running.settings)
            yield running
        finally:
            running.child.stop()


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[KafkaEventLog]:
    """With patience."""
    opened = KafkaEventLog(broker.settings, timeout_s=60.0)
    yield opened
    await opened.close()


@pytest.fixture
async def impatient(broker: Broker) -> AsyncIterator[KafkaEventLog]:
    """That soon gives up."""
    opened = KafkaEventLog(broker.settings, timeout_s=3.0)
    yield opened
    await opened.close()


async def until(done: Callable[[], Awaitable[None]]) -> None:
    """As a gateway's sender would: again and again until Kafka answers."""
    for _ in range(120):
        with suppress(Unavailable):
            return await done()
        await asyncio.sleep(0.5)
    raise AssertionError("Kafka does not answer")


def _make_fatal(producer: Producer) -> None:
    """librdkafka's own means for tests; the client's handle is the first field of confluent_kafka's object (after PyObject_HEAD)."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
    library.rd_kafka_test_fatal_error.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    handle = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__).value
    assert library.rd_kafka_test_fatal_error(handle, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, b"as planned") == 0


def end_of(broker: Broker, topic: Topic) -> int:
    """Records in the topic; a broker that has just come back needs a moment for its groups."""
    for _ in range(20):
        with suppress(Unavailable):
            (found,) = topics.lag(broker.settings, [("nobody", topic)], 5.0)
            return found.end
    raise AssertionError("no lag can be read")


async def test_an_outage_is_said_and_ends(broker: Broker, impatient: KafkaEventLog) -> None:
    """Down: append, lag and the question of a probe raise Unavailable, in time. Up again: the same producer goes on."""
    log = impatient
    await until(lambda: log.append([Record(LABS, b"k", b"1")]))
    await until(log.ping)
    before = await asyncio.to_thread(end_of, broker, LABS)
    await asyncio.to_thread(broker.kill)
    async with asyncio.timeout(120):
        with pytest.raises(Unavailable):
            await log.append([Record(LABS, b"k", b"2")])
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match="Kafka does not answer"):
            await log.ping()
    with pytest.raises(Unavailable):
        await asyncio.to_thread(topics.lag, broker.settings, [("nobody", LABS)], 2.0)
    with pytest.raises(Unavailable):
        await asyncio.to_thread(topics.check, broker.settings, 2.0)
    broker.start()  # from this thread: Linux ends it with the thread that started it
    await until(lambda: log.append([Record(LABS, b"k", b"3")]))
    await until(log.ping)
    assert await asyncio.to_thread(end_of, broker, LABS) > before


async def test_a_producer_that_met_a_fatal_error_is_renewed(broker: Broker, log: KafkaEventLog) -> None:
    """librdkafka never sends again after one (an idempotent producer whose sequence is lost); ours must not need a restart."""
    await log.append([Record(LABS, b"k", b"1")])
    old = log._producer
    _make_fatal(old)
    with pytest.raises(KafkaException):
        old.produce("readfirst.labs", b"librdkafka takes no more")
    await until(lambda: log.append([Record(LABS, b"k", b"2")]))
    await log.append([Record(LABS, b"k", b"3")])


async def test_lag_counts_what_is_not_consumed(broker: Broker, log: KafkaEventLog) -> None:
    """In records, for a group that has never committed from the log's beginning on."""
    (before,) = await asyncio.to_thread(topics.lag, broker.settings, [("nobody", LABS)])
    await log.append([Record(LABS, str(number).encode(), b"{}") for number in range(25)])
    (after,) = await asyncio.to_thread(topics.lag, broker.settings, [("nobody", LABS)])
    assert (after.records, after.end - before.end) == (before.records + 25, 25)


async def test_missing_topics_and_other_counts_are_said(broker: Broker) -> None:
    """With what to do about it."""
    await asyncio.to_thread(topics.check, broker.settings)
    with pytest.raises(StackError, match="is missing"):
        await asyncio.to_thread(topics.check, broker.settings.model_copy(update={"topic_prefix": "other."}))
    with pytest.raises(StackError, match="partitions"):
        await asyncio.to_thread(topics.check, broker.settings.model_copy(update={"partitions": 3}))
    assert await asyncio.to_thread(topics.create, broker.settings) == [], "all are there"
    assert len(TOPICS) > 6


async def test_a_dead_letter_driven_again_has_its_effect_once(broker: Broker, log: KafkaEventLog) -> None:
    """Read from its topic, sent to where it came from; what was applied meanwhile is ignored as a duplicate."""
    store = MemoryContextStore()
    stage = ContextStage(store, log, ManualClock(NOW), "group")
    good = _received()
    bad = Received(LABS, 0, 0, b"somebody else", good.body, good.headers)
    await stage.handle([batch([bad])])
    letters = await asyncio.to_thread(KafkaDeadLetters(broker.settings).read)
    (letter,) = [found for _, _, found in letters if found.headers.get("event_id") == good.headers["event_id"]]
    assert (letter.reason, letter.topic, letter.body) == ("wrong-key", "labs", good.body)
    again = resend(letter, 1)
    assert (again.topic, again.value) == (LABS, good.body)

    await stage.handle([batch([Received(LABS, 0, 1, good.key, good.body, good.headers)])])
    await stage.handle([batch([Received(LABS, 0, 2, good.key, again.value or b"", again.headers)])])
    assert len(store.facts) == 1
    assert stage.ignored == {"duplicate": 1}


async def test_a_letter_from_nowhere_is_not_driven_again(broker: Broker, log: KafkaEventLog) -> None:
    """It is read all the same."""
    letter = DeadLetter(
        event_id=event_id("test", "nowhere"),
        reason="malformed",
        explanation="?",
        topic="hl7",
        partition=0,
        offset=-1,
        body=b"x",
        recorded_at=NOW,
    )
    await log.append([Record(DLQ, b"k", codec.encode(letter))])
    found = await asyncio.to_thread(lambda: [each for _, _, each in KafkaDeadLetters(broker.settings).read()])
    assert letter in found
    with pytest.raises(NotFound):
        resend(letter, 1)


def _received() -> Received:
    """A laboratory result as the context stage gets it."""
    one = fact(1, patient="p" * 32)
    return Received(LABS, 0, 0, one.patient.encode(), one.body, {"event_id": one.event_id})
