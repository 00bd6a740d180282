"""What only the real stores promise: plans, maintenance, sums, and coming back after an outage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from structlog.testing import capture_logs

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.postgres.accounting import PostgresAccounting, ReceiptCount, Standing
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.maintenance import keep_maintained, maintain
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.adapters.postgres.worklist import STANDING, PostgresWorklist, page_parameters, page_query
from pipeline.adapters.worklist_rules import encode_cursor
from pipeline.errors import Unavailable
from pipeline.ports import Ignored, ListQuery, Receipt
from schemas.assessments import Risk
from schemas.topics import ASSESSMENTS, LABS
from tests.store_fixtures import START, change, event_id, fact, item, place

KEEP = timedelta(days=30)
GONE = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


async def rank(database: Database, *items: object) -> None:
    """One batch."""
    async with PostgresRankingStore(database).begin("ranking", [place(ASSESSMENTS, 0)]) as batch:
        await batch.store([change(one, number) for number, one in enumerate(items)])  # type: ignore[arg-type]


def nodes(plan: dict[str, object]) -> list[dict[str, object]]:
    """A plan's nodes, flat."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", [None, "open", "closed"])
async def test_a_page_reads_its_index_in_order(database: Database, state: str | None) -> None:
    """With 5,000 items a page anywhere in the list comes from the deadline's index, without a sort."""
    await rank(database, *(item(f"1.{number}", due=number % 777, state="closed" if number % 2 else "open") for number in range(5000)))
    async with database.connection() as connection:
        await connection.execute(
            "update worklist_item set claimed_by = 'ada', claimed_at = now() where ctid in (select ctid from worklist_item limit 50)"
        )
        await connection.execute("analyze worklist_item")
    query = ListQuery(limit=50, state=state, after=encode_cursor(item("1.5", due=5)))
    async with database.connection() as connection:
        explain = psycopg.sql.SQL("explain (analyze, format json) ") + page_query(STANDING[state])
        row = await (await connection.execute(explain, page_parameters(query, 51))).fetchone()
    assert row is not None
    found = nodes((row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"])

    assert [node["Index Name"] for node in found if "Index Name" in node] == ["worklist_closed" if state == "closed" else "worklist_open"]
    assert not any(node["Node Type"] == "Sort" for node in found)


async def test_histories_read_indexes_only(database: Database) -> None:
    """However many weeks there are, a patient's facts are found by index in each."""
    await maintain(database, START, KEEP)
    store = PostgresContextStore(database)
    async with store.begin("g", [place(LABS, 0)]) as batch:
        facts = [fact(number, f"p{number % 500}", at=START + timedelta(minutes=number)) for number in range(20_000)]
        await batch.append(facts, [])
        await batch.advance({place(LABS, 0): 19_999})
    async with database.connection() as connection:
        await connection.execute("vacuum analyze fact")
        query = psycopg.sql.SQL("explain (format json) ") + psycopg.sql.SQL(Queries("context").facts)
        parameters = {"patients": ["p1", "p2", "p3"]}
        row = await (await connection.execute(query, parameters)).fetchone()
    assert row is not None
    full = [node for node in nodes(row[0][0]["Plan"]) if node["Node Type"] == "Seq Scan"]

    assert not any(int(str(node["Plan Rows"])) > 1 for node in full)  # an empty week may be read whole


async def test_maintenance_makes_weeks_and_drops_expired_ones(database: Database) -> None:
    """Facts that came before their week was made move into it; only what is older than kept goes; running again changes nothing."""
    old, recent, future = START - timedelta(days=60), START, START + timedelta(days=20)
    store = PostgresContextStore(database)
    await maintain(database, old, KEEP)
    async with store.begin("g", [place(LABS, 0)]) as batch:
        facts = [
            fact(1, at=old),
            fact(2, at=recent),
            fact(3, at=future),
            fact(4, at=START.replace(year=1980)),
            fact(5, at=START.replace(year=9000)),
        ]
        await batch.append(facts, [Ignored(event_id(9), "duplicate", "labs", 0, 9)])
        await batch.advance({place(LABS, 0): 9})
    await rank(database, item("1.1", state="closed", ranked_at=old), item("1.2", ranked_at=old), item("1.3", state="closed"))
    await PostgresReceipts(database).close(Receipt("lis", "hl7", "1", "accepted", None, (), old))
    done = await maintain(database, START, KEEP)

    assert "fact_2026w10" in done.created
    assert done.dropped == ["fact_2025w52", "fact_2026w01", "fact_2026w02", "fact_2026w03", "fact_2026w04"]
    assert {table: count for table, count in done.expired.items() if count} == {"fact_default": 1, "receipt": 1, "worklist_item": 1}
    async with store.begin("g", [place(LABS, 1)]) as batch:
        assert {event.event_id for event in (await batch.histories(["p1"]))["p1"]} == {event_id(2), event_id(3), event_id(5)}
    async with database.connection() as connection:
        weeks = await (await connection.execute("select tableoid::regclass::text, count(*) from fact group by 1 order by 1")).fetchall()
        items = await (await connection.execute("select study_uid from worklist_item order by 1")).fetchall()
    assert weeks == [("fact_2026w10", 1), ("fact_2026w12", 1), ("fact_default", 1)]
    assert items == [("1.2",), ("1.3",)]
    again = await maintain(database, START, KEEP)
    assert (again.created, again.dropped, sum(again.expired.values())) == ([], [], 0)


async def test_upkeep_goes_on_after_a_failure(migrated: Callable[[], str]) -> None:
    """A run that fails is told and tried again: a server that is away does not end it."""
    now = ManualClock(START)
    with capture_logs() as lines:
        async with Database("postgresql://readfirst@127.0.0.1:1/readfirst") as away, Database(migrated()) as there:
            runs = [asyncio.ensure_future(keep_maintained(database, now, KEEP)) for database in (away, there)]
            async with asyncio.timeout(60):
                while len(lines) < 2:  # noqa: ASYNC110 (a log has no event to wait for)
                    await asyncio.sleep(0.05)
            assert not any(run.done() for run in runs)
            for run in runs:
                run.cancel()

    assert sorted(line["event"] for line in lines) == ["facts_maintained", "maintenance_failed"]


async def test_maintenance_from_several_processes(database: Database) -> None:
    """They wait for each other: each partition is made once."""
    done = await asyncio.gather(*(maintain(database, START, KEEP) for _ in range(4)))

    assert sorted(len(one.created) for one in done) == [0, 0, 0, 6]


async def test_every_event_is_accounted_for(database: Database) -> None:
    """Acknowledged events are facts, ignored, dead letters, or named as missing."""
    receipts, accounting = PostgresReceipts(database), PostgresAccounting(database)
    await receipts.open("ris", "hl7", "0")
    await receipts.close(Receipt("lis", "hl7", "1", "accepted", None, tuple(event_id(number) for number in (1, 2, 3)), START))
    await receipts.close(Receipt("lis", "hl7", "2", "accepted", None, (event_id(4), event_id(5)), START))
    await receipts.close(Receipt("lis", "hl7", "3", "refused", "invalid", (), START))
    await receipts.close(Receipt("lis", "hl7", "4", "accepted", None, (event_id(6),), START - timedelta(hours=1)))
    async with PostgresContextStore(database).begin("g", [place(LABS, 0)]) as batch:
        await batch.append(
            [fact(1), fact(2), fact(2)], [Ignored(event_id(3), "late", "labs", 0, 3), Ignored(event_id(8), "late", "labs", 0, 8)]
        )
        await batch.advance({place(LABS, 0): 8})

    assert await accounting.applied_events(START) == 2
    assert await accounting.facts_by_kind(START) == {"observation": 3}
    assert await accounting.ignored_by_reason(START) == {"late": 2}
    assert await accounting.unaccounted_events(START, {event_id(4)}) == {event_id(5)}
    assert await accounting.unaccounted_events(START - timedelta(hours=2)) == {event_id(4), event_id(5), event_id(6)}
    assert ReceiptCount("lis", "hl7", "accepted", None, 2, 0) in await accounting.receipts(START)
    assert {(count.source, count.outcome) for count in await accounting.receipts(START)} >= {("ris", None), ("lis", "refused")}


async def test_the_list_in_numbers(database: Database) -> None:
    """Studies, those open, those that a model scored, degraded ones; and how long each event took to its rank."""
    await PostgresReceipts(database).close(Receipt("lis", "hl7", "1", "accepted", None, (event_id(0),), START))
    model, rules = Risk(scorer="onnxruntime", probability=0.5), Risk(scorer="rules")
    closed = item("1.3", state="closed", degraded=True)
    await rank(database, item("1.1", risk=model), item("1.2", risk=rules, degraded=True), closed)
    accounting = PostgresAccounting(database)

    assert await accounting.standing(START) == Standing(studies=3, open=2, model_scored=1, degraded=1)
    (latency,) = await accounting.latencies(START)
    assert 0 < latency < 60


async def test_an_outage_is_unavailable_and_passes(database: Database) -> None:
    """Connections that die within a transaction or in the pool: Unavailable at most once, nothing half done, then all goes on."""
    store = PostgresContextStore(database)
    with pytest.raises(Unavailable):
        async with store.begin("g", [place(LABS, 0)]) as batch:
            await batch.append([fact(0)], [])
            await asyncio.to_thread(_terminate_all, database.dsn)
            await batch.advance({place(LABS, 0): 0})
    async with store.begin("g", [place(LABS, 0)]) as batch:
        assert batch.applied == {place(LABS, 0): -1}
        assert await batch.histories(["p1"]) == {"p1": []}


async def test_no_server_is_unavailable() -> None:
    """At the first use, not at opening, and not for ever."""
    async with Database("postgresql://readfirst@127.0.0.1:1/readfirst") as database, asyncio.timeout(60):
        with pytest.raises(Unavailable):
            async with database.connection():
                pass


async def test_watchers_survive_an_outage(database: Database) -> None:
    """The LISTEN connection dies and comes back; what changed meanwhile is told."""
    await rank(database, item("1.1"))
    reader = PostgresWorklist(database)
    watcher = reader.changes(0)
    async with asyncio.timeout(60):
        seen = await anext(watcher)
        await asyncio.to_thread(_terminate_all, database.dsn)
        claimed = await PostgresActions(database).claim("1.1", "ada", START)
        assert claimed.seq > seen
        assert await anext(watcher) == claimed.seq
        waiting = asyncio.ensure_future(anext(watcher, None))
        await asyncio.sleep(0.1)
        await reader.close()
        assert await waiting is None


async def test_a_batch_that_hangs_does_not_hold_the_next_case(database: Database) -> None:
    """While the ranking stage holds the first row for long, a reader gets the next one without waiting for that."""
    await rank(database, item("1.1", due=1), item("1.2", due=2))
    async with PostgresRankingStore(database).begin("ranking", [place(ASSESSMENTS, 0)]) as batch, asyncio.timeout(60):
        await batch.items(["1.1"])
        given = await PostgresActions(database).claim_next("ada", ListQuery(), START)

    assert given.item.study.study_uid == "1.2"


async def test_seq_grows_in_the_order_of_commits(database: Database) -> None:
    """Whoever has seen n has missed nothing below n, though many write at once: a growing maximum never hides a smaller late one."""
    store = PostgresRankingStore(database)
    seen: list[int] = []

    async def write(number: int) -> None:
        async with store.begin("ranking", [place(ASSESSMENTS, number)]) as batch:
            await batch.store([change(item(f"1.{number}"))])
            await asyncio.sleep(0.01 * (number % 3))

    async def look() -> None:
        for _ in range(40):
            async with database.connection() as connection:
                rows = await (await connection.execute("select seq from worklist_item order by seq")).fetchall()
            seqs = [seq for (seq,) in rows]
            assert seqs[: len(seen)] == seen
            seen[:] = seqs

    await asyncio.gather(look(), *(write(number) for number in range(12)))


def _terminate_all(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(GONE)


async def test_a_message_that_came_twice_is_one_receipt_and_one_repeat(database: Database) -> None:
    """Whether the two came one after the other or at the same time, and both were accepted."""
    receipts = PostgresReceipts(database)
    in_turn, at_once = (Receipt("lis", "hl7", identity, "accepted", None, (event_id(1),), START) for identity in ("in turn", "at once"))
    await receipts.open("lis", "hl7", "in turn")
    await receipts.close(in_turn)
    assert await receipts.open("lis", "hl7", "in turn") == ("done", in_turn)
    await receipts.open("lis", "hl7", "at once")
    assert await receipts.open("lis", "hl7", "at once") == ("pending", None)
    await receipts.close(at_once)
    await receipts.close(at_once)
    for number in range(10):
        many = Receipt("lis", "hl7", f"many {number}", "accepted", None, (event_id(1),), START)
        await asyncio.gather(*(receipts.open("lis", "hl7", many.identity) for _ in range(5)))
        await asyncio.gather(*(receipts.close(many) for _ in range(5)))

    assert [(count.count, count.repeats) for count in await PostgresAccounting(database).receipts(START)] == [(12, 42)]


async def test_a_receipt_that_cannot_be_kept_harms_no_other(database: Database) -> None:
    """Messages that come together share a transaction; the one whose outcome the table refuses fails alone, all others are kept."""
    receipts = PostgresReceipts(database)
    told = [Receipt("lis", "hl7", f"{number}", "accepted", None, (), START) for number in range(20)]
    told[7] = Receipt("lis", "hl7", "7", "no such outcome", None, (), START)

    ends = await asyncio.gather(*(receipts.close(one) for one in told), return_exceptions=True)

    assert [number for number, end in enumerate(ends) if end is not None] == [7]
    assert [(await receipts.open("lis", "hl7", str(number)))[0] for number in (6, 7, 8)] == ["done", "new", "done"]
