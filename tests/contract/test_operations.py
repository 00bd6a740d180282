"""What the monitor reads, and the record of settled letters: the real stores do what the twins do."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.dead_letters import KafkaLetterTopic
from pipeline.adapters.kafka.ends import KafkaEnds
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.memory.operations import MemorySettledLetters
from pipeline.adapters.postgres.batches import PostgresOffsets
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.operations import PostgresSettledLetters, PostgresStanding
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.domain.site import DEFAULT
from pipeline.errors import NotFound, Unavailable
from pipeline.ports import Place, Receipt, Received, Record, SiteRules
from pipeline.ports.operations import Crowd, LetterPlace, Settled, SettledLetters
from pipeline.services.dead_letters import dead_letter
from pipeline.settings import Kafka
from schemas.topics import ASSESSMENTS, LABS, Topic
from tests.store_fixtures import START, change, event_id, fact, item


@pytest.fixture(params=["memory", "postgres"])
def settled(request: pytest.FixtureRequest) -> SettledLetters:
    """An empty record."""
    if request.param == "memory":
        return MemorySettledLetters()
    return PostgresSettledLetters(request.getfixturevalue("database"))


async def test_a_letter_is_settled_once(settled: SettledLetters) -> None:
    """The first stays, with who, when and why."""
    first = Settled(LetterPlace(3, 17), "purged", "a test\0", "ann", START)

    assert await settled.settle(first)
    assert not await settled.settle(Settled(LetterPlace(3, 17), "redriven", "", "bob", START))
    (kept,) = (await settled.all()).values()
    assert (kept.place, kept.outcome, kept.by, kept.at) == (first.place, "purged", "ann", START)


async def test_applied_offsets_by_group_and_place(database: Database) -> None:
    """As the stages have written them."""
    async with PostgresOffsets(database).begin("readfirst-scoring", [Place("assess", 3)]) as transaction:
        await transaction.advance({Place("assess", 3): 41})

    assert await PostgresStanding(database).applied() == {("readfirst-scoring", Place("assess", 3)): 41}


async def rank(database: Database, *changes: object) -> None:
    """What the ranking stage writes."""
    async with PostgresRankingStore(database).begin("readfirst-ranking", [Place(ASSESSMENTS.name, 0)]) as transaction:
        await transaction.store(list(changes))  # type: ignore[arg-type]


async def test_the_list_in_numbers(database: Database) -> None:
    """By class and priority; overdue by the given present; marks; whose studies."""
    await rank(
        database,
        change(item("1.1", due=10, patient_class="E", priority="stat", provisional=True)),
        change(item("1.2", due=90, patient_class="E", priority="stat", degraded=True)),
        change(item("1.3", due=90, patient="p2", unmatched=True, ready_at=START - timedelta(hours=1))),
    )
    standing = PostgresStanding(database)
    figures = await standing.figures(START + timedelta(minutes=30))

    assert list(figures.crowds) == [Crowd("", "", 1, 0), Crowd("E", "stat", 2, 1)]
    assert (figures.open, figures.overdue) == (3, 1)
    assert (figures.degraded, figures.provisional, figures.unmatched) == (1, 1, 1)
    assert figures.oldest_ready_at == START - timedelta(hours=1)
    assert (figures.oldest_score, dict(figures.escalations), figures.escalation_due_at) == (None, {}, None)
    assert await standing.open_studies() == {"p1": 2, "p2": 1}


async def test_a_refused_site_file_is_told_until_one_is_accepted(database: Database) -> None:
    """By the newest word on it: also where the good one is that of before."""
    register, standing, good = PostgresSiteRegister(database), PostgresStanding(database), SiteRules(DEFAULT, "good", "")
    await register.accept(good, START)
    await register.refuse("bad", "", ["line 3: below 0", "line 9: no such key"], START)
    refused = await standing.figures(START)
    await register.accept(good, START)

    assert (refused.site_faults, (await standing.figures(START)).site_faults) == (2, 0)


async def test_an_event_counts_at_its_first_rank(database: Database) -> None:
    """Not before the first mark, not again at the model's answer, and not without its fact."""
    standing = PostgresStanding(database)
    await rank(database, change(item("1.1"), 1))
    mark, before = await standing.ranked_after(None)
    async with PostgresContextStore(database).begin("readfirst-context", [Place(LABS.name, 0)]) as transaction:
        await transaction.append([fact(2)], [])
    await rank(database, change(item("1.1", due=20, version=2), 2), change(item("1.2", version=2), 3))
    mark, ranked = await standing.ranked_after(mark)
    await rank(database, change(item("1.1", due=10, version=3), 2))
    _, again = await standing.ranked_after(mark)

    assert (before, again) == ([], [])
    (one,) = ranked
    assert (one.event_id, one.true_at, one.received_at) == (event_id(2), START + timedelta(seconds=2), START + timedelta(seconds=2))
    assert one.ranked_at > one.received_at


async def test_messages_of_each_source_by_hour(database: Database) -> None:
    """The gateways' own conclusions are no message; the span is half open."""
    receipts, standing = PostgresReceipts(database), PostgresStanding(database)
    start = await standing.clock()
    for source, kind, identity in [("LIS", "hl7", "1"), ("LIS", "hl7", "2"), ("CT1", "instance", "3"), ("CT1", "quiet", "4")]:
        await receipts.open(source, kind, identity)
        await receipts.close(Receipt(source, kind, identity, "accepted", None, (), datetime.now(UTC)))
    end = await standing.clock()
    found = await standing.sources(start, end)

    counted: Counter[str] = Counter()
    for row in found:  # one more where an hour ended meanwhile
        counted[row.source] += row.messages
    assert counted == {"LIS": 2, "CT1": 1}
    assert all(row.hour == row.first.replace(minute=0, second=0, microsecond=0) for row in found)
    assert await standing.sources(end, end + timedelta(hours=1)) == []


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[tuple[Kafka, KafkaEventLog]]:
    """Topics of their own."""
    settings = Kafka(bootstrap_servers=kafka, topic_prefix=f"ops-{secrets.token_hex(4)}.")
    await asyncio.to_thread(topics.create, settings)
    log = KafkaEventLog(settings)
    yield settings, log
    await log.close()


async def ends_of(ends: KafkaEnds, topic: Topic) -> Mapping[Place, tuple[int, int]]:
    """A broker needs a moment to know the leaders of new partitions, a busy one a long one."""
    for _ in range(30):
        with suppress(Unavailable):
            return await ends.ends([topic])
    pytest.fail("the broker does not know its topics")


async def time_of(ends: KafkaEnds, place: Place, offset: int) -> datetime:
    """A busy broker may need more than one question."""
    for _ in range(60):
        if found := await ends.times({place: offset}):
            return found[place]
    pytest.fail("the record's time was not read")


async def test_ends_and_the_time_of_a_record(broker: tuple[Kafka, KafkaEventLog]) -> None:
    """The record asked for, not the first of its batch; others are left alone."""
    settings, log = broker
    ends, sent = KafkaEnds(settings), list[tuple[float, float]]()
    for _ in range(3):
        before = time.time()
        await log.append([Record(LABS, b"p1", b"{}")])
        sent.append((before, time.time()))
        await asyncio.sleep(0.05)
    spans = await ends_of(ends, LABS)
    ((place, _),) = [(place, span) for place, span in spans.items() if span != (0, 0)]
    old, new, again = [await time_of(ends, place, offset) for offset in (0, 2, 2)]
    await ends.close()

    assert spans[place] == (0, 3)
    assert len(spans) == settings.partitions
    assert again == new
    for (before, after), found in zip((sent[0], sent[2]), (old, new), strict=True):
        assert before - 0.001 <= found.timestamp() <= after, "Kafka counts in milliseconds"


async def test_a_broker_that_is_away_is_unavailable() -> None:
    """Within seconds, so that the monitor can say so."""
    ends = KafkaEnds(Kafka(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(Unavailable):
        await ends.ends([LABS])
    await ends.close()


async def test_letters_are_read_whole_and_one_by_one(broker: tuple[Kafka, KafkaEventLog]) -> None:
    """From every partition; a place that holds none is not found."""
    settings, log = broker
    letters = [dead_letter(Received(LABS, 0, n, f"p{n}".encode(), b"{"), "malformed", "not JSON", START) for n in range(20)]
    await log.append(letters)
    topic = KafkaLetterTopic(settings)
    found = await topic.read()

    assert sorted(letter.offset for _, letter in found) == list(range(20))
    assert [place for place, _ in found] == sorted(place for place, _ in found)
    assert await topic.get(found[3][0]) == found[3][1]
    with pytest.raises(NotFound):
        await topic.get(LetterPlace(0, 999))
