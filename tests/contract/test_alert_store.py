"""The contract of AlertStore and AlertReader, held by the memory twin and by Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.escalation import PostgresAlerts
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.domain import alert_words, escalation
from pipeline.domain.escalation import Alert
from pipeline.domain.triggers import Usage
from pipeline.errors import Conflict, NotFound
from pipeline.ports import ItemChange
from pipeline.ports.batches import Place
from pipeline.ports.escalation import AlertChange, Try
from schemas.topics import ASSESSMENTS
from schemas.worklist import WorklistItem
from tests.alert_builders import alert, study
from tests.store_fixtures import START, change

WAITING = """select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
    where locktype = 'advisory' and not granted and datname = current_database()"""
ANOTHER = """insert into worklist_item select (json_populate_record(one, '{"study_uid": "2", "seq": 1000}')).* from worklist_item as one"""


@dataclass(frozen=True, slots=True)
class Stores:
    """Alerts, and the worklist beside them."""

    alerts: Any
    actions: Any
    rank: Callable[..., Awaitable[None]]

    async def write(self, *changed: Alert) -> None:
        """One transaction."""
        async with self.alerts.begin() as transaction:
            entries = [alert_words.entry(alert, "raised", "because", START) for alert in changed]
            await transaction.store([AlertChange(alert, entry) for alert, entry in zip(changed, entries, strict=True)])


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Empty ones."""
    if request.param == "memory":
        worklist = MemoryWorklist()
        ranking: Any = worklist
        actions: Any = worklist
        alerts: Any = worklist.alerts
    else:
        database: Database = request.getfixturevalue("database")
        ranking, alerts, actions = PostgresRankingStore(database), PostgresAlerts(database), PostgresActions(database)

    async def rank(*items: WorklistItem) -> None:
        async with ranking.begin("ranking", [Place(ASSESSMENTS.name, 0)]) as batch:
            changes: list[ItemChange] = [change(item) for item in items]
            await batch.store(changes)

    return Stores(alerts, actions, rank)


async def test_alerts_come_back_as_they_were(stores: Stores) -> None:
    """Every field survives, and the history with it, whatever text is in it."""
    written = alert("odd\0uid", acknowledged_by="Ada", confirmed=False, muted="budget", radlex="RID5352")
    await stores.write(written)

    assert await stores.alerts.get(written.id) == written
    assert await stores.alerts.of_studies(["odd\0uid", "9"]) == {"odd\0uid": [written]}
    assert [entry.reason for entry in await stores.alerts.history(written.id)] == ["because"]
    with pytest.raises(NotFound):
        await stores.alerts.get("nobody")


async def test_a_transaction_finds_studies_and_patients(stores: Stores) -> None:
    """Those of the studies, and those of the patients' other studies; what is no study by its subject."""
    one, two, other = alert("1"), alert("2"), alert("3", patient="p2")
    feed = alert("feed/labs", "feed-down", study_uid=None, patient=None)
    await stores.write(one, two, other, feed)

    async with stores.alerts.begin() as transaction:
        assert sorted(await transaction.of(["1"], ["p1"]), key=lambda a: a.subject) == [one, two]
        assert await transaction.of_subject("feed/labs") == [feed]
        assert await transaction.get(other.id) == other


async def test_a_failed_transaction_leaves_no_trace(stores: Stores) -> None:
    """Alert and history roll back together."""
    with pytest.raises(RuntimeError):
        async with stores.alerts.begin() as transaction:
            await transaction.store([AlertChange(alert(), alert_words.entry(alert(), "raised", "x", START))])
            raise RuntimeError("dies")

    assert await stores.alerts.in_states(escalation.OPEN) == []
    assert await stores.alerts.history(alert().id) == []


async def test_due_alerts_are_held_by_one_worker(stores: Stores) -> None:
    """The longest due first; what one holds the other does not see; what was moved on is due no more."""
    first, second = alert("1"), alert("2", at=START + timedelta(minutes=1))
    later = alert("3", at=START + timedelta(hours=9))
    await stores.write(first, second, later)
    now = START + timedelta(minutes=5)

    async with stores.alerts.due(now, 1) as one, stores.alerts.due(now, 10) as two:
        assert (one.due, two.due) == ([first], [second])
        await one.store([AlertChange(replace(first, next_at=None), None)])
    async with stores.alerts.due(now, 10) as again:
        assert again.due == [second]


async def test_a_reader_waits_for_the_worker_that_holds_an_alert(stores: Stores) -> None:
    """So that no acknowledgement is overwritten by a step that was under way."""
    await stores.write(alert())
    order: list[str] = []

    async def acknowledge() -> None:
        async with stores.alerts.begin() as transaction:
            found = await transaction.get(alert().id)
            order.append(f"sees step {found.step}")

    async with stores.alerts.due(START, 10) as worker:
        reading = asyncio.create_task(acknowledge())
        await asyncio.sleep(0.2)
        await worker.store([AlertChange(replace(worker.due[0], step=0, next_at=None), None)])
        order.append("sent")
    await reading
    assert order == ["sent", "sees step 0"]


async def test_a_mark_outlives_its_worker(stores: Stores) -> None:
    """What was marked and not refused is a repeat the next time, though the transaction never ended."""
    await stores.write(alert())
    with pytest.raises(RuntimeError):
        async with stores.alerts.due(START, 10) as worker:
            assert await worker.mark(["k", "r"]) == {"k": Try(1, False), "r": Try(1, False)}
            await worker.refused(["r"])
            raise RuntimeError("killed")

    async with stores.alerts.due(START, 10) as worker:
        assert worker.due == [alert()]
        assert await worker.mark(["k", "r"]) == {"k": Try(2, True), "r": Try(2, False)}


async def test_what_was_told_is_known_though_its_worker_died(stores: Stores) -> None:
    """And further tries of it are none."""
    await stores.write(alert())
    with pytest.raises(RuntimeError):
        async with stores.alerts.due(START, 10) as worker:
            await worker.mark(["k", "r"])
            await worker.told(["k"])
            raise RuntimeError("killed")

    async with stores.alerts.due(START, 10) as worker:
        assert await worker.mark(["k", "r"]) == {"k": Try(1, False, True), "r": Try(2, True)}


async def test_history_reaches_the_topic_once_and_in_order(stores: Stores) -> None:
    """Oldest first; a publisher that fails leaves all of it."""
    await stores.write(alert("1"), alert("2"))
    with pytest.raises(RuntimeError):
        async with stores.alerts.unpublished(10) as entries:
            assert [entry.study_uid for entry in entries] == ["1", "2"]
            raise RuntimeError("Kafka is away")
    async with stores.alerts.unpublished(1) as entries:
        assert [entry.study_uid for entry in entries] == ["1"]
    async with stores.alerts.unpublished(10) as entries:
        assert [entry.study_uid for entry in entries] == ["2"]
    async with stores.alerts.unpublished(10) as entries:
        assert entries == []


async def test_usage_counts_what_may_be_muted(stores: Stores) -> None:
    """Categories 2 and 3 of the shift that were not silent till the reading; of the model's how many were judged, and confirmed."""
    await stores.write(
        alert("1"),
        alert("2", "deadline"),
        alert("3", "deadline", state="suppressed", muted="budget"),
        alert("7", "deadline", state="resolved", muted="duplicate"),
        alert("4", "model-risk", confirmed=True),
        alert("5", "finding", confirmed=False),
        alert("6", "deadline", at=START - timedelta(hours=9)),
    )

    async with stores.alerts.begin() as transaction:
        assert await transaction.usage(START - timedelta(hours=1)) == Usage(3, 2, 1)


async def test_what_the_topic_does_not_tell_is_found(stores: Stores) -> None:
    """Items changed after a seq; overdue without an alert; closed with one that stands; silent for a reason that may be gone."""
    await stores.rank(study("new"), study("late", due=-5), study("gone"), study("quiet"), study("calm"))
    _, seq = await stores.alerts.to_judge(START - timedelta(days=1), 0, 100)
    assert sorted(one.study.study_uid for one in (await stores.alerts.to_judge(START - timedelta(days=1), 0, 100))[0]) == [
        "calm", "gone", "late", "new", "quiet",
    ]  # fmt: skip
    await stores.write(alert("quiet", state="suppressed", muted="duplicate"), alert("gone"), alert("calm"))
    assert {one.study.study_uid for one in (await stores.alerts.to_judge(START, seq, 100))[0]} == {"late", "quiet"}
    await stores.rank(study("gone", version=2, state="closed", closed="reported"))
    assert {one.study.study_uid for one in (await stores.alerts.to_judge(START, seq + 100, 100))[0]} == {"late", "quiet", "gone"}
    await stores.write(alert("late", "deadline"))
    assert {one.study.study_uid for one in (await stores.alerts.to_judge(START, seq + 100, 100))[0]} == {"quiet", "gone"}


async def test_what_is_ahead_of_the_clock_is_found(stores: Stores) -> None:
    """Standing alerts that were changed in the future."""
    await stores.write(alert("1"), alert("2", at=START + timedelta(hours=1)), alert("3", at=START + timedelta(hours=1), state="resolved"))

    assert await stores.alerts.ahead_of(START + timedelta(minutes=1)) == [alert("2").id]


async def test_lists_are_ordered_by_danger(stores: Stores) -> None:
    """Category, then age; and the counts."""
    old, new, urgent = alert("1", at=START - timedelta(minutes=9)), alert("2"), alert("3", "deadline", at=START - timedelta(hours=2))
    silent = alert("4", state="suppressed", muted="budget")
    await stores.write(new, urgent, old, silent)

    assert await stores.alerts.in_states(escalation.OPEN) == [old, new, urgent]
    counts = await stores.alerts.counts()
    assert (counts.open, counts.suppressed) == (3, 1)


async def test_a_touched_study_is_news(stores: Stores) -> None:
    """Its seq grows, so that pages read it again."""
    await stores.rank(study("1"), study("2"))
    _, before = await stores.alerts.to_judge(START - timedelta(days=1), 0, 10)
    await stores.alerts.touch(["1", "nobody"])

    changed, after = await stores.alerts.to_judge(START - timedelta(days=1), before, 10)
    assert ([one.study.study_uid for one in changed], after > before) == (["1"], True)


async def test_a_study_that_comes_while_others_are_touched_is_left_alone(database: Database) -> None:
    """Whoever holds its row may wait for the lock that the touch holds: each would wait for the other."""
    async with PostgresRankingStore(database).begin("ranking", [Place(ASSESSMENTS.name, 0)]) as batch:
        await batch.store([change(study("1"))])
    async with database.transaction() as other:
        await other.execute("select pg_advisory_xact_lock(hashtextextended('worklist', 3))")
        touching = asyncio.create_task(PostgresAlerts(database).touch(["1", "2"]))
        while (await (await other.execute(WAITING)).fetchone()) == (0,):  # noqa: ASYNC110 (Postgres tells nobody)
            await asyncio.sleep(0.01)
        await other.execute(ANOTHER)
    await touching

    async with database.connection() as connection:
        rows = await (await connection.execute("select study_uid, seq from worklist_item")).fetchall()
    seqs = dict(rows)
    assert seqs["2"] == 1000 and seqs["1"] > 1


async def test_a_studys_alert_is_acknowledged_once_and_taken_over_by_word(stores: Stores) -> None:
    """With the study, in one transaction: state, record and history; without a take-over the second reader changes nothing."""
    await stores.rank(study("1.2.3"))
    await stores.write(alert())
    identity = alert().id

    await stores.actions.acknowledge("1.2.3", "Ada", START + timedelta(minutes=1), method="phone")
    with pytest.raises(Conflict, match="Ada"):
        await stores.actions.acknowledge("1.2.3", "Ben", START + timedelta(minutes=2))
    seen = await stores.alerts.get(identity)
    assert (seen.state, seen.acknowledged_by, seen.next_at, seen.record.method) == ("acknowledged", "Ada", None, "phone")

    taken = await stores.actions.acknowledge("1.2.3", "Ben", START + timedelta(minutes=3), take_over=True)
    after = await stores.alerts.get(identity)
    assert (taken.acknowledged_by, after.acknowledged_by, after.record.received_by, after.state) == ("Ben", "Ben", "Ben", "acknowledged")
    steps = [(entry.step, entry.by) for entry in await stores.alerts.history(identity)]
    assert steps[1:] == [
        ("acknowledged", "Ada"),
        ("taken-over", "Ben"),
    ]
