"""The contract of ContextStore and OffsetStore, held by the memory twins and by Postgres."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.postgres.batches import PostgresOffsets
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.domain.site import DEFAULT
from pipeline.errors import Fenced, InvalidMessage
from pipeline.ports import ContextStore, Ignored, ItemChange, OffsetStore, Place, SiteRules
from schemas.topics import ASSESSMENTS, IMAGING, LABS, VITALS
from tests.store_fixtures import START, event_id, fact, item, place

BOTH = ["memory", "postgres"]
GROUP = "context"


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest) -> ContextStore:
    """An empty ContextStore."""
    return MemoryContextStore() if request.param == "memory" else PostgresContextStore(request.getfixturevalue("database"))


@pytest.fixture(params=BOTH)
def offsets(request: pytest.FixtureRequest) -> OffsetStore:
    """An empty OffsetStore."""
    return MemoryOffsets() if request.param == "memory" else PostgresOffsets(request.getfixturevalue("database"))


async def apply(store: ContextStore, *facts: object, ignored: tuple[Ignored, ...] = ()) -> None:
    """One batch of LABS-0."""
    async with store.begin(GROUP, [place(LABS)]) as batch:
        await batch.append(list(facts), list(ignored))  # type: ignore[arg-type]
        await batch.advance({place(LABS): max([f.offset for f in facts] + [i.offset for i in ignored])})  # type: ignore[attr-defined]


async def merge(store: ContextStore, retired: str, survivor: str | None, minute: int) -> bool:
    """A statement on `retired`, learned at that minute."""
    async with store.begin(GROUP, [place(LABS, 1)]) as batch:
        await batch.lock_patients([name for name in (retired, survivor) if name])
        return await batch.set_survivor(retired, survivor, START + timedelta(minutes=minute), event_id(1000 + minute))


async def values(store: ContextStore, *patients: str) -> dict[str, list[float]]:
    """patient -> the values of all its facts, sorted."""
    async with store.begin(GROUP, [place(LABS, 7)]) as batch:
        histories = await batch.histories(patients)
    return {patient: sorted(event.observations[0].value for event in events) for patient, events in histories.items()}  # type: ignore


async def test_a_new_partition_has_nothing_applied(offsets: OffsetStore) -> None:
    """The applied offset begins at -1, moves with commit, and belongs to one group, topic and partition."""
    async with offsets.begin("g", [place(LABS, 0)]) as batch:
        assert batch.applied == {place(LABS, 0): -1}
        await batch.advance({place(LABS, 0): 41})

    for group, topic, partition, expected in (("g", LABS, 0, 41), ("g", LABS, 1, -1), ("g", VITALS, 0, -1), ("h", LABS, 0, -1)):
        async with offsets.begin(group, [place(topic, partition)]) as batch:
            assert batch.applied == {place(topic, partition): expected}


async def test_an_exception_takes_everything_back(store: ContextStore) -> None:
    """Facts, merges and the applied offset of a transaction that raised are not there."""
    with pytest.raises(RuntimeError):
        async with store.begin(GROUP, [place(LABS, 0)]) as batch:
            await batch.append([fact(0)], [])
            await batch.set_survivor("a", "b", START, event_id(1))
            await batch.advance({place(LABS, 0): 0})
            raise RuntimeError("dies before commit")

    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        assert batch.applied == {place(LABS, 0): -1}
        assert await batch.histories(["p1"]) == {"p1": []}
        assert await batch.survivors(["a"]) == {}


async def test_offsets_never_go_back(offsets: OffsetStore) -> None:
    """Advancing below what is applied means that somebody else owns the partition."""
    async with offsets.begin("g", [place(LABS, 0)]) as batch:
        await batch.advance({place(LABS, 0): 5})
    with pytest.raises(Fenced):
        async with offsets.begin("g", [place(LABS, 0)]) as batch:
            await batch.advance({place(LABS, 0): 4})


async def test_two_workers_on_one_partition_take_turns(store: ContextStore) -> None:
    """The second sees the first one's applied offset, never the one from before it: so a worker that lost the partition finds out."""
    inside = asyncio.Event()

    async def first() -> None:
        async with store.begin(GROUP, [place(LABS, 0)]) as batch:
            inside.set()
            await asyncio.sleep(0.1)
            await batch.append([fact(0), fact(1)], [])
            await batch.advance({place(LABS, 0): 1})

    async def second() -> int:
        await inside.wait()
        async with store.begin(GROUP, [place(LABS, 0)]) as batch:
            return batch.applied[place(LABS)]

    _, seen = await asyncio.gather(first(), second())

    assert seen == 1


async def test_other_partitions_are_not_held_up(store: ContextStore) -> None:
    """Partitions are independent: a transaction may open while another one is open."""
    async with store.begin(GROUP, [place(LABS, 0)]), asyncio.timeout(60), store.begin(GROUP, [place(LABS, 1)]) as other:
        assert other.applied == {place(LABS, 1): -1}


async def test_several_partitions_are_one_transaction(offsets: OffsetStore) -> None:
    """Known places and new ones are locked together, and advance together or not at all; those not named to advance stay."""
    async with offsets.begin("g", [place(VITALS, 1)]) as batch:
        await batch.advance({place(VITALS, 1): 4})
    everywhere = [place(VITALS, 1), place(LABS, 1), place(LABS, 0)]
    async with offsets.begin("g", everywhere) as batch:
        assert batch.applied == {place(VITALS, 1): 4, place(LABS, 0): -1, place(LABS, 1): -1}
        await batch.advance({place(LABS, 0): 7, place(VITALS, 1): 5})
    with pytest.raises(Fenced):
        async with offsets.begin("g", everywhere) as batch:
            await batch.advance({place(LABS, 1): 3, place(VITALS, 1): 4})

    async with offsets.begin("g", everywhere) as batch:
        assert batch.applied == {place(VITALS, 1): 5, place(LABS, 0): 7, place(LABS, 1): -1}


async def test_overlapping_sets_of_partitions_take_turns(offsets: OffsetStore) -> None:
    """In whatever order they name their places, nobody waits for ever, and nothing is counted twice."""
    sets = [[place(LABS, 0), place(LABS, 1)], [place(LABS, 2), place(LABS, 1)], [place(LABS, 2), place(LABS, 0)]]

    async def count(places: list[Place]) -> None:
        async with offsets.begin("g", places) as batch:
            before = dict(batch.applied)
            await asyncio.sleep(0.001)
            await batch.advance({where: offset + 1 for where, offset in before.items()})

    async with asyncio.timeout(60):
        for _ in range(5):
            await asyncio.gather(*(count(places) for places in sets))

    async with offsets.begin("g", [place(LABS, number) for number in range(3)]) as batch:
        assert set(batch.applied.values()) == {9}


async def test_versions_grow(store: ContextStore) -> None:
    """Each transaction has a larger version than all before it, whatever partition it was for and however it ended."""
    versions = []
    for partition in (0, 1, 0, 2):
        async with store.begin(GROUP, [place(LABS, partition)]) as batch:
            versions.append(batch.version)

    assert versions == sorted(set(versions))


async def test_facts_come_back_as_they_were(store: ContextStore) -> None:
    """Histories hold every fact of each patient asked for, decoded, and of nobody else; the unknown patient has none."""
    await apply(store, fact(0), fact(1, "p2"), fact(2))

    assert await values(store, "p1", "p2", "nobody") == {"p1": [0, 2], "p2": [1], "nobody": []}


async def test_an_id_that_is_no_uuid_is_kept(store: ContextStore) -> None:
    """A foreign event id stops nothing and is known again."""
    odd = fact(0)
    await apply(store, type(odd)(odd.patient, "not-a-uuid", odd.kind, odd.recorded_at, odd.topic, 0, 0, odd.body))
    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        assert await batch.known_events(["not-a-uuid", "another"]) == {"not-a-uuid"}


async def test_a_fact_of_any_time_finds_its_place(store: ContextStore) -> None:
    """recorded_at may be absurd: the fact is kept."""
    far = [START.replace(year=1), START.replace(year=1970), START.replace(year=9998)]
    await apply(store, *(fact(number, at=at) for number, at in enumerate(far)))

    assert await values(store, "p1") == {"p1": [0, 1, 2]}


@pytest.mark.parametrize("odd", ["nul\0inside", "x" * 10_000, "ä" * 5_000, ""])
async def test_any_text_is_a_patient(store: ContextStore, odd: str) -> None:
    """A key that the database could not hold or index stops nothing: its facts, merges and locks work as any other's."""
    await apply(store, fact(0, odd), fact(1, odd + "2"))
    async with store.begin(GROUP, [place(LABS, 1)]) as batch:
        await batch.lock_patients([odd])
        assert await batch.survivors([odd]) == {}
        assert [event.patient for event in (await batch.histories([odd]))[odd]] == [odd]
        assert await batch.set_survivor(odd, "b", START, event_id(1))
        assert await batch.survivors([odd]) == {odd: "b"}
        assert [event.patient for event in (await batch.histories(["b"]))["b"]] == [odd]


async def test_who_waits_on_some_partitions(store: ContextStore) -> None:
    """By their images' partition, as long as they are on the list; a laboratory value alone gives nothing to read."""
    came = [fact(1, "p1", topic=IMAGING), fact(2, "p2", topic=IMAGING, partition=1), fact(3, "p3"), fact(4, "p1", topic=IMAGING)]
    await apply(store, *came)
    if isinstance(store, PostgresContextStore):
        ranking = PostgresRankingStore(store._database)
        listed = [item(uid, patient=patient) for uid, patient in (("1", "p1"), ("2", "p2"), ("3", "p3"), ("4", "p1"))]
        async with ranking.begin("g", [place(ASSESSMENTS)]) as transaction:
            await transaction.items([each.study.study_uid for each in listed])
            await transaction.store([ItemChange(each, "test", event_id(1)) for each in listed])
    async with store.begin(GROUP, [place(IMAGING)]) as batch:
        assert await batch.waiting([0]) == ["p1"]
        assert sorted(await batch.waiting([0, 1])) == ["p1", "p2"]
        assert await batch.waiting([2]) == []


async def test_who_waits_by_the_rules_before(database: Database) -> None:
    """Judged by a context older than the acceptance of the rules in force; a refused file is no rule, and without any nobody is behind."""
    store, ranking, register = PostgresContextStore(database), PostgresRankingStore(database), PostgresSiteRegister(database)
    await apply(store, fact(1, "p1", topic=IMAGING), fact(2, "p2", topic=IMAGING))

    async def listed(patient: str) -> int:
        async with store.begin(GROUP, [place(LABS)]) as batch:
            version = batch.version
        async with ranking.begin("g", [place(ASSESSMENTS)]) as transaction:
            await transaction.items([patient])
            each = item(patient, patient=patient, version=version)
            await transaction.store([ItemChange(each, "test", event_id(version))])
        return version

    async def behind() -> list[str]:
        async with store.begin(GROUP, [place(IMAGING)]) as batch:
            return await batch.waiting([0], behind=True)

    await listed("p1")
    assert await behind() == []
    await register.accept(SiteRules(DEFAULT, "d1", "text"), START)
    await listed("p2")
    await register.refuse("d2", "", ["site.yaml:1:1: bad"], START)
    assert await behind() == ["p1"]
    await register.accept(SiteRules(DEFAULT, "d3", "text"), START)
    assert sorted(await behind()) == ["p1", "p2"]


async def test_ignored_records_advance_too(store: ContextStore) -> None:
    """A batch of ignored records alone is applied, and none of them is a fact."""
    await apply(store, ignored=(Ignored(event_id(3), "duplicate", "labs", 0, 3),))
    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        assert batch.applied == {place(LABS, 0): 3}
        assert await batch.known_events([event_id(3)]) == set()


async def test_merges_are_followed_to_their_end(store: ContextStore) -> None:
    """a -> b -> c: c has the facts of all three, each lives on under c, and who was never merged is not mentioned."""
    await apply(store, fact(0, "a"), fact(1, "b"), fact(2, "c"), fact(3, "d"))
    assert await merge(store, "a", "b", 1)
    assert await merge(store, "b", "c", 2)

    assert await values(store, "c", "b", "d") == {"c": [0, 1, 2], "b": [0, 1], "d": [3]}
    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        assert dict(await batch.survivors(["a", "b", "c", "d"])) == {"a": "c", "b": "c"}


async def test_an_unmerge_gives_the_facts_back(store: ContextStore) -> None:
    """After it each has its own facts again."""
    await apply(store, fact(0, "a"), fact(1, "b"))
    await merge(store, "a", "b", 1)
    assert await merge(store, "a", None, 2)

    assert await values(store, "a", "b") == {"a": [0], "b": [1]}


async def test_only_the_newest_statement_counts(store: ContextStore) -> None:
    """A merge learned earlier than a known unmerge has no effect, whichever comes first; nor has the same message again."""
    assert not await merge(store, "a", None, 5)
    assert not await merge(store, "a", "b", 4)
    assert await merge(store, "a", "b", 6)
    assert not await merge(store, "a", "b", 6)
    assert not await merge(store, "a", "b", 8)
    assert not await merge(store, "a", None, 7)
    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        assert dict(await batch.survivors(["a"])) == {"a": "b"}


async def test_a_ring_of_merges_is_refused(store: ContextStore) -> None:
    """Nobody may end up under themselves, over any number of steps; merging into oneself changes nothing."""
    assert not await merge(store, "a", "a", 1)
    await merge(store, "a", "b", 2)
    await merge(store, "b", "c", 3)
    with pytest.raises(InvalidMessage, match="merge-cycle"):
        await merge(store, "c", "a", 4)
    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        assert dict(await batch.survivors(["a", "b", "c"])) == {"a": "c", "b": "c"}


async def test_a_survivor_can_change(store: ContextStore) -> None:
    """A newer merge moves the retired id from one survivor to another, without counting the old chain as a ring."""
    await apply(store, fact(0, "a"))
    await merge(store, "a", "b", 1)
    assert await merge(store, "a", "c", 2)

    assert await values(store, "b", "c") == {"b": [], "c": [0]}


async def test_a_merge_is_seen_within_its_transaction(store: ContextStore) -> None:
    """The window of the survivor is rebuilt before commit."""
    await apply(store, fact(0, "a"), fact(1, "b"))
    async with store.begin(GROUP, [place(LABS, 0)]) as batch:
        await batch.set_survivor("a", "b", START, event_id(9))
        assert dict(await batch.survivors(["a"])) == {"a": "b"}
        assert len((await batch.histories(["b"]))["b"]) == 2


async def test_locked_patients_are_not_merged_by_others(store: ContextStore) -> None:
    """A merge of patients that another transaction holds waits until it ends."""
    held, order = asyncio.Event(), []

    async def holder() -> None:
        async with store.begin(GROUP, [place(LABS, 0)]) as batch:
            await batch.lock_patients(["b", "a"])
            held.set()
            await asyncio.sleep(0.1)
            order.append("holder")

    async def other() -> None:
        await held.wait()
        async with store.begin(GROUP, [place(LABS, 1)]) as batch:
            await batch.lock_patients(["a"])
            order.append("other")

    await asyncio.gather(holder(), other())

    assert order == ["holder", "other"]
