"""The contract of RankingStore, WorklistReader and WorklistActions, held by the memory twin and by Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.errors import Conflict, InvalidMessage, NotFound
from pipeline.ports import ContextStore, ItemChange, ListQuery, RankingStore, WorklistActions, WorklistReader
from schemas.assessments import Risk
from schemas.topics import ASSESSMENTS, LABS, VITALS
from tests.store_fixtures import START, change, event_id, fact, item, place

LATER = START + timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Stores:
    """The three sides of one worklist, and the context beside it."""

    ranking: RankingStore
    reader: WorklistReader
    actions: WorklistActions
    context: ContextStore

    async def rank(self, *changes: ItemChange, partition: int = 0) -> None:
        """One batch."""
        async with self.ranking.begin("ranking", [place(ASSESSMENTS, partition)]) as batch:
            await batch.store(changes)

    async def listed(self, **query: object) -> list[str]:
        """Study UIDs of a page."""
        return [row.item.study.study_uid for row in (await self.reader.page(ListQuery(**query))).items]  # type: ignore[arg-type]


@pytest.fixture
async def on_postgres(database: Database) -> AsyncIterator[Stores]:
    """Empty ones in a database."""
    reader = PostgresWorklist(database)
    yield Stores(PostgresRankingStore(database), reader, PostgresActions(database), PostgresContextStore(database))
    await reader.close()


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Empty ones."""
    if request.param == "postgres":
        stores: Stores = request.getfixturevalue("on_postgres")
        return stores
    context = MemoryContextStore()
    worklist = MemoryWorklist(context)
    return Stores(worklist, worklist, worklist, context)


async def test_the_list_is_ordered_by_deadline(stores: Stores) -> None:
    """(due_at, study_uid), whatever the order of writing."""
    await stores.rank(change(item("1.3", due=30)), change(item("1.10", due=10)), change(item("1.2", due=10)))

    assert await stores.listed() == ["1.10", "1.2", "1.3"]


async def test_items_come_back_as_they_were(stores: Stores) -> None:
    """Every field of the document survives."""
    risk = Risk(scorer="triton", probability=0.25, model="m", model_version="1", outcome="death")
    written = item("1.2", modality="CT", location="ED", patient_class="E", indication="fall, \0 ümlaut", risk=risk, missing=["age"])
    await stores.rank(change(written))

    assert (await stores.reader.get("1.2")).item == written
    async with stores.ranking.begin("ranking", [place(ASSESSMENTS, 1)]) as batch:
        assert await batch.items(["1.2", "9.9"]) == {"1.2": written}


async def test_of_two_that_see_a_study_for_the_first_time_the_newer_counts(stores: Stores) -> None:
    """The other partition's older item is neither listed nor in the history."""
    async with stores.ranking.begin("ranking", [place(ASSESSMENTS, 0)]) as batch:
        assert await batch.items(["1.2"]) == {}
        await stores.rank(change(item("1.2", due=20, version=5)), partition=1)
        await batch.store([change(item("1.2", due=10, version=4), 2)])

    assert (await stores.reader.get("1.2")).item == item("1.2", due=20, version=5)
    assert [one.event_id for one in await stores.reader.history("1.2")] == [event_id(1)]


@pytest.mark.parametrize("odd", ["nul\0inside", "1." * 5_000])
async def test_any_text_is_a_study(stores: Stores, odd: str) -> None:
    """A UID that the database could not hold or index stops nothing: it is listed, claimed and paged over as any other."""
    written = item(odd, due=1, location=odd, modality=odd, why=odd)
    await stores.rank(change(written), change(item("2", due=2)))
    async with stores.ranking.begin("ranking", [place(ASSESSMENTS, 0)]) as batch:
        assert await batch.items([odd]) == {odd: written}

    assert (await stores.actions.claim(odd, "a\0da", START)).item.study.study_uid == odd
    assert (await stores.reader.get(odd)).item.study.study_uid == odd
    assert len(await stores.reader.history(odd)) == 1
    first = await stores.reader.page(ListQuery(limit=1))
    assert [row.item.study.study_uid for row in (await stores.reader.page(ListQuery(after=first.next))).items] == ["2"]


async def test_an_older_version_changes_nothing(stores: Stores) -> None:
    """Writes carry the context version and never go back; the same version again is newer, as it has the model's answer."""
    await stores.rank(change(item("1.2", due=30, version=5)))
    await stores.rank(change(item("1.2", due=99, version=4), cause="late"))
    await stores.rank(change(item("1.2", due=20, version=5), cause="model"))

    assert (await stores.reader.get("1.2")).item.due_at == START + timedelta(minutes=20)
    assert [line.cause for line in await stores.reader.history("1.2")] == ["model", "new study"]


async def test_changes_of_one_batch_are_applied_in_order(stores: Stores) -> None:
    """Several changes of a study in one batch: the newest version stays, and each that counted is in the history."""
    await stores.rank(
        change(item("1.2", due=50, version=1), 1, cause="a"),
        change(item("1.2", due=40, version=3), 2, cause="b"),
        change(item("1.2", due=45, version=2), 3, cause="c"),
    )

    assert (await stores.reader.get("1.2")).item.due_at == START + timedelta(minutes=40)
    assert [(line.cause, line.event_id) for line in await stores.reader.history("1.2")] == [("b", event_id(2)), ("a", event_id(1))]


async def test_a_noted_version_moves_nothing(stores: Stores) -> None:
    """changed=False: the version is noted, all that a reader sees stays, nobody is told, no history is written."""
    await stores.rank(change(item("1.2", due=30, version=1)))
    before = await stores.reader.get("1.2")
    await stores.rank(change(item("1.2", due=29, version=7, why="other"), changed=False))
    after = await stores.reader.get("1.2")

    assert (after.item.context_version, after.seq) == (7, before.seq)
    assert (after.item.due_at, after.item.why) == (before.item.due_at, before.item.why)
    assert len(await stores.reader.history("1.2")) == 1


async def test_a_failed_batch_leaves_no_trace(stores: Stores) -> None:
    """Items, history and offset roll back together."""
    with pytest.raises(RuntimeError):
        async with stores.ranking.begin("ranking", [place(ASSESSMENTS, 0)]) as batch:
            await batch.store([change(item("1.2"))])
            await batch.advance({place(ASSESSMENTS, 0): 3})
            raise RuntimeError("dies before commit")

    assert await stores.listed() == []
    assert await stores.reader.history("1.2") == []
    async with stores.ranking.begin("ranking", [place(ASSESSMENTS, 0)]) as batch:
        assert batch.applied == {place(ASSESSMENTS, 0): -1}


async def test_closed_studies_leave_the_list(stores: Stores) -> None:
    """They can still be asked for, alone or as closed ones."""
    await stores.rank(change(item("1.2")), change(item("1.3")))
    await stores.rank(change(item("1.2", version=2, state="closed", closed="reported"), cause="reported"))

    assert await stores.listed() == ["1.3"]
    assert await stores.listed(state="closed") == ["1.2"]
    assert (await stores.reader.get("1.2")).item.state == "closed"


async def test_pages_follow_each_other_without_gap(stores: Stores) -> None:
    """A cursor leads to what comes after it, also when rows before it have gone and equal deadlines straddle the edge."""
    await stores.rank(*(change(item(f"1.{number:02}", due=number // 3)) for number in range(10)))
    first = await stores.reader.page(ListQuery(limit=4))
    await stores.rank(change(item("1.00", due=0, version=2, state="closed")))
    second = await stores.reader.page(ListQuery(limit=4, after=first.next))
    third = await stores.reader.page(ListQuery(limit=4, after=second.next))

    uids = [row.item.study.study_uid for page in (first, second, third) for row in page.items]
    assert uids == [f"1.{number:02}" for number in range(10)]
    assert third.next is None


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "é", "WyIyMDI2Il0", "////"])
async def test_a_foreign_cursor_is_refused(stores: Stores, cursor: str) -> None:
    """It is bad input, not an error of ours."""
    with pytest.raises(InvalidMessage, match="invalid"):
        await stores.reader.page(ListQuery(after=cursor))


@pytest.mark.parametrize("query", [ListQuery(limit=0), ListQuery(limit=501), ListQuery(state="lost")])
async def test_a_query_out_of_range_is_refused(stores: Stores, query: ListQuery) -> None:
    """limit is 1..500, state one of three."""
    with pytest.raises(InvalidMessage, match="invalid"):
        await stores.reader.page(query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"modality": "CT"}, ["1.1"]),
        ({"patient_class": "I"}, ["1.2"]),
        ({"location": "ED"}, ["1.1"]),
        ({"text": "FALL"}, ["1.1"]),
        ({"text": "100%"}, ["1.2"]),
        ({"text": "1_0"}, []),
        ({"text": "\0"}, []),
        ({"overdue_at": START + timedelta(minutes=15)}, ["1.1"]),
        ({"state": "claimed"}, ["1.2"]),
        ({"state": "open"}, ["1.1", "1.3"]),
        ({"modality": "DX", "state": "open"}, ["1.3"]),
        ({"modality": "XX"}, []),
    ],
)
async def test_filters(stores: Stores, query: dict[str, object], expected: list[str]) -> None:
    """Each narrows the list; text is found literally, whatever its case."""
    await stores.rank(
        change(item("1.1", due=10, modality="CT", patient_class="E", location="ED", indication="Fall from height")),
        change(item("1.2", due=20, modality="DX", patient_class="I", location="W1", why="SpO2 not 100%")),
        change(item("1.3", due=30, modality="DX", patient_class="O")),
    )
    await stores.actions.claim("1.2", "ada", START)

    assert await stores.listed(**query) == expected


async def test_summary_counts_what_is_on_the_list(stores: Stores) -> None:
    """Closed ones do not count, claimed ones do; the feeds tell how fresh each topic is."""
    async with stores.context.begin("context", [place(LABS, 0)]) as batch:
        await batch.append([fact(1), fact(9), fact(3)], [])
        await batch.advance({place(LABS, 0): 9})
    async with stores.context.begin("context", [place(LABS, 0)]) as batch:
        await batch.append([fact(10, at=START)], [])
        await batch.advance({place(LABS, 0): 10})
    async with stores.context.begin("context", [place(VITALS, 0)]) as batch:
        await batch.append([fact(2, topic=VITALS)], [])
        await batch.advance({place(VITALS, 0): 2})
    ready = START - timedelta(hours=1)
    await stores.rank(
        change(item("1.1", due=1, degraded=True, ready_at=ready)),
        change(item("1.2", due=90, unmatched=True)),
        change(item("1.3", due=1, state="closed", ready_at=START - timedelta(days=1))),
    )
    claimed = await stores.actions.claim("1.1", "ada", LATER)
    summary = await stores.reader.summary(LATER)

    assert (summary.open, summary.overdue, summary.degraded, summary.unmatched) == (2, 1, 1, 1)
    assert summary.oldest_ready_at == ready
    assert summary.seq == claimed.seq
    assert summary.feeds == {"labs": START + timedelta(seconds=9), "vitals": START + timedelta(seconds=2)}


async def test_an_empty_list_has_a_summary(stores: Stores) -> None:
    """Zeroes, and nothing oldest."""
    summary = await stores.reader.summary(START)

    assert (summary.open, summary.overdue, summary.oldest_ready_at, summary.seq, summary.feeds) == (0, 0, None, 0, {})


async def test_the_timeline_is_newest_first_and_follows_merges(stores: Stores) -> None:
    """The facts of the patient and of those merged into it, limited from the newest."""
    async with stores.context.begin("context", [place(LABS, 0)]) as batch:
        await batch.append([fact(1, "a"), fact(2, "b"), fact(3, "a"), fact(4, "c")], [])
        await batch.set_survivor("a", "b", START, event_id(99))
        await batch.advance({place(LABS, 0): 4})

    assert [event.event_id for event in await stores.reader.patient_events("b")] == [event_id(3), event_id(2), event_id(1)]
    assert [event.event_id for event in await stores.reader.patient_events("b", limit=1)] == [event_id(3)]
    assert len(await stores.reader.patient_events("b", topics=["labs", "findings"])) == 3
    assert await stores.reader.patient_events("b", topics=["findings"]) == []


async def test_unknown_studies(stores: Stores) -> None:
    """Not found, by whatever door; an unknown study has no history."""
    for attempt in (stores.actions.claim, stores.actions.release, stores.actions.acknowledge):
        with pytest.raises(NotFound):
            await attempt("9.9", "ada", START)
    with pytest.raises(NotFound):
        await stores.reader.get("9.9\0")
    assert await stores.reader.history("9.9") == []


async def test_one_of_fifty_claims_wins(stores: Stores) -> None:
    """All others are told who was first."""
    await stores.rank(change(item("1.2")))

    async def attempt(reader: str) -> str:
        try:
            return (await stores.actions.claim("1.2", reader, LATER)).claimed_by or ""
        except Conflict as conflict:
            return f"refused: {conflict}"

    outcomes = await asyncio.gather(*(attempt(f"reader-{number:02}") for number in range(50)))
    winners = [outcome for outcome in outcomes if not outcome.startswith("refused")]

    assert len(winners) == 1
    assert all(winners[0] in outcome for outcome in outcomes)
    assert (await stores.reader.get("1.2")).claimed_by == winners[0]


async def test_a_claim_stays_through_a_new_rank(stores: Stores) -> None:
    """Ranking changes the item under the claim, not the claim; the claimed item says so."""
    await stores.rank(change(item("1.2", due=30)))
    claimed = await stores.actions.claim("1.2", "ada", LATER)
    await stores.rank(change(item("1.2", due=10, version=2)))
    row = await stores.reader.get("1.2")

    assert (row.claimed_by, row.claimed_at, row.item.state) == ("ada", LATER, "claimed")
    assert row.item.due_at == START + timedelta(minutes=10)
    assert row.seq > claimed.seq
    async with stores.ranking.begin("ranking", [place(ASSESSMENTS, 0)]) as batch:
        assert (await batch.items(["1.2"]))["1.2"].state == "claimed"


async def test_claiming_again_and_giving_back(stores: Stores) -> None:
    """One's own claim again changes nothing; only the owner gives it back; giving back nothing is no error."""
    await stores.rank(change(item("1.2")))
    first = await stores.actions.claim("1.2", "ada", START)
    assert await stores.actions.claim("1.2", "ada", LATER) == first
    with pytest.raises(Conflict, match="ada"):
        await stores.actions.release("1.2", "bob", LATER)
    released = await stores.actions.release("1.2", "ada", LATER)

    assert (released.claimed_by, released.claimed_at, released.item.state) == (None, None, "open")
    assert released.seq > first.seq
    assert await stores.actions.release("1.2", "bob", LATER) == released


async def test_the_first_acknowledgement_counts(stores: Stores) -> None:
    """It is kept with its time; another reader is told who was first."""
    await stores.rank(change(item("1.2")))
    first = await stores.actions.acknowledge("1.2", "ada", START)

    assert (first.acknowledged_by, first.acknowledged_at, first.claimed_by) == ("ada", START, None)
    assert await stores.actions.acknowledge("1.2", "ada", LATER) == first
    with pytest.raises(Conflict, match="ada"):
        await stores.actions.acknowledge("1.2", "bob", LATER)


async def test_a_closed_study_cannot_be_claimed(stores: Stores) -> None:
    """The reader is told that it has left the list."""
    await stores.rank(change(item("1.2", state="closed", closed="reported")))
    with pytest.raises(Conflict, match="reported"):
        await stores.actions.claim("1.2", "ada", START)
    with pytest.raises(NotFound):
        await stores.actions.claim_next("ada", ListQuery(), START)


async def test_next_gives_each_reader_another_study(stores: Stores) -> None:
    """Twenty readers at once get twenty studies, the most urgent ones, each once."""
    await stores.rank(*(change(item(f"1.{number:02}", due=number)) for number in range(25)))
    given = await asyncio.gather(*(stores.actions.claim_next(f"r{number}", ListQuery(), START) for number in range(20)))

    assert sorted(row.item.study.study_uid for row in given) == [f"1.{number:02}" for number in range(20)]
    assert await stores.listed(state="open") == [f"1.{number:02}" for number in range(20, 25)]


async def test_next_honours_the_filters(stores: Stores) -> None:
    """The most urgent that matches; none left is not found."""
    await stores.rank(change(item("1.1", due=1, modality="DX")), change(item("1.2", due=2, modality="CT")))

    assert (await stores.actions.claim_next("ada", ListQuery(modality="CT"), START)).item.study.study_uid == "1.2"
    with pytest.raises(NotFound):
        await stores.actions.claim_next("bob", ListQuery(modality="CT"), START)


async def test_watchers_hear_of_every_change(stores: Stores) -> None:
    """One who has seen seq n is told at once of anything after n, and then of each change, as are all others."""
    await stores.rank(change(item("1.2")))
    late = stores.reader.changes(0)
    async with asyncio.timeout(60):
        seq = await anext(late)
        watchers = [stores.reader.changes(seq) for _ in range(5)]
        waiting = [asyncio.ensure_future(anext(watcher)) for watcher in watchers]
        await asyncio.sleep(0.2)
        assert not any(wait.done() for wait in waiting)
        claimed = await stores.actions.claim("1.2", "ada", START)
        assert await asyncio.gather(*waiting) == [claimed.seq] * 5
        await stores.rank(change(item("1.3")))
        newest = (await stores.reader.get("1.3")).seq
        while await anext(late) != newest:
            pass
    for watcher in (late, *watchers):
        await watcher.aclose()  # type: ignore[attr-defined]
