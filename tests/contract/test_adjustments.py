"""Holds, overrides, sub-lists and reviews: the contract of WorklistActions.adjust and ReviewStore, held by the twin and by Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import pytest

from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.reviews import PostgresReviewStore
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.domain import adjustments
from pipeline.domain.site import DEFAULT, SubList
from pipeline.errors import Conflict, NotFound
from pipeline.ports import Act, ItemChange, ListQuery, RankingStore, ReviewStore, WorklistActions, WorklistReader
from schemas.topics import ASSESSMENTS
from schemas.worklist import WorklistItem
from tests.store_fixtures import START, change, event_id, item, place

LATER = START + timedelta(minutes=5)
MISSING = DEFAULT.hold_reason("images-missing")


@dataclass(frozen=True, slots=True)
class Stores:
    """The sides of one worklist."""

    ranking: RankingStore
    reader: WorklistReader
    actions: WorklistActions
    reviews: ReviewStore

    async def rank(self, *items: WorklistItem) -> None:
        """One batch."""
        async with self.ranking.begin("ranking", [place(ASSESSMENTS)]) as batch:
            await batch.store([change(one, number) for number, one in enumerate(items)])

    async def listed(self, **query: object) -> list[str]:
        """Study UIDs of a page."""
        return [row.item.study.study_uid for row in (await self.reader.page(ListQuery(**query))).items]  # type: ignore[arg-type]


@pytest.fixture
async def on_postgres(database: Database) -> AsyncIterator[Stores]:
    """Empty ones in a database."""
    reader = PostgresWorklist(database)
    yield Stores(PostgresRankingStore(database), reader, PostgresActions(database), PostgresReviewStore(database))
    await reader.close()


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Empty ones."""
    if request.param == "postgres":
        stores: Stores = request.getfixturevalue("on_postgres")
        return stores
    worklist = MemoryWorklist()
    return Stores(worklist, worklist, worklist, worklist)


def hold(minutes: float = 40) -> Act:
    return Act("hold", lambda found: adjustments.hold(found, MISSING, "Ada", LATER, minutes, None, DEFAULT), "set aside by Ada")


def down(due: float = 400) -> Act:
    due_at = START + timedelta(minutes=due)
    return Act("override", lambda found: adjustments.override(found, due_at, "Ada", LATER, 60, "x", DEFAULT), "deadline set by Ada")


async def test_a_held_study_is_nobodys_next_case(stores: Stores) -> None:
    """It stays on the list, later by its hold, under the state held, and is passed over until its time has come."""
    await stores.rank(item("1.1", due=10), item("1.2", due=30))
    listed = await stores.actions.adjust("1.1", "Ada", LATER, hold())

    assert listed.item.due_at == START + timedelta(minutes=50)
    assert await stores.listed() == ["1.2", "1.1"]
    assert await stores.listed(state="held") == ["1.1"]
    assert await stores.listed(state="open") == ["1.2"]
    assert (await stores.reader.summary(LATER)).held == 1
    assert (await stores.actions.claim_next("Bo", ListQuery(), LATER)).item.study.study_uid == "1.2"
    with pytest.raises(NotFound):
        await stores.actions.claim_next("Cy", ListQuery(), LATER)
    assert (await stores.actions.claim_next("Cy", ListQuery(), LATER + timedelta(minutes=40))).item.study.study_uid == "1.1"


async def test_ranking_does_not_wipe_what_a_reader_did(stores: Stores) -> None:
    """The ranking stage reads an item before it writes it: what it read has the hold."""
    await stores.rank(item("1.1", due=10))
    held = (await stores.actions.adjust("1.1", "Ada", LATER, hold())).item
    async with stores.ranking.begin("ranking", [place(ASSESSMENTS)]) as batch:
        found = (await batch.items(["1.1"]))["1.1"]
        await batch.store([change(msgspec.structs.replace(found, context_version=2), 2)])

    assert found.adjustment == held.adjustment
    assert (await stores.reader.get("1.1")).item.adjustment == held.adjustment


async def test_the_history_tells_who_and_what(stores: Stores) -> None:
    """Each act is a line of the history, with its kind."""
    await stores.rank(item("1.1", due=10))
    await stores.actions.adjust("1.1", "Ada", LATER, hold())

    newest = (await stores.reader.history("1.1"))[0]
    assert (newest.kind, newest.cause, newest.at) == ("hold", "set aside by Ada", LATER)


async def test_an_override_may_pass_the_target(stores: Stores) -> None:
    """It is stored, shown in its new place, and taken back."""
    await stores.rank(item("1.1", due=10), item("1.2", due=30))
    moved = await stores.actions.adjust("1.1", "Ada", LATER, down())

    assert moved.item.due_at > moved.item.target_at
    assert await stores.listed() == ["1.2", "1.1"]
    freed = await stores.actions.adjust("1.1", "Bo", LATER, Act("free", lambda one: adjustments.freed(one, LATER, DEFAULT), "freed"))
    assert freed.item.due_at == START + timedelta(minutes=10)
    assert freed.item.adjustment is None


async def test_an_act_that_changes_nothing_is_none(stores: Stores) -> None:
    """To resume what is not held leaves no line and no new seq."""
    await stores.rank(item("1.1"))
    before = await stores.reader.get("1.1")
    resume = Act("resume", lambda one: adjustments.resumed(one, LATER, DEFAULT), "resumed")

    assert (await stores.actions.adjust("1.1", "Ada", LATER, resume)).seq == before.seq
    assert len(await stores.reader.history("1.1")) == 1


async def test_whose_study_it_is(stores: Stores) -> None:
    """Another's claimed study cannot be set aside; one's own can, and is given back."""
    await stores.rank(item("1.1"), item("1.2"))
    await stores.actions.claim("1.1", "Bo", LATER)

    with pytest.raises(Conflict, match="Bo"):
        await stores.actions.adjust("1.1", "Ada", LATER, hold())
    assert (await stores.actions.adjust("1.1", "Bo", LATER, hold())).claimed_by is None
    with pytest.raises(NotFound):
        await stores.actions.adjust("9.9", "Ada", LATER, hold())


async def test_closed_studies_are_left_alone(stores: Stores) -> None:
    """What is reported can neither be held nor moved."""
    await stores.rank(item("1.1", state="closed", closed="reported"))

    for act in (hold(), down()):
        with pytest.raises(Conflict, match="left the list"):
            await stores.actions.adjust("1.1", "Ada", LATER, act)


async def test_two_readers_at_once(stores: Stores) -> None:
    """Of twenty holds at once each sees what the one before did: the last one stands, and none is lost from the history."""
    await stores.rank(item("1.1", due=10))
    await asyncio.gather(*(stores.actions.adjust("1.1", "Ada", LATER, hold(40)) for _ in range(20)))

    assert (await stores.reader.get("1.1")).item.due_at == START + timedelta(minutes=50)
    assert len(await stores.reader.history("1.1")) == 21


async def test_what_is_due_for_a_review(stores: Stores) -> None:
    """Items whose time has come, the longest due first; after a quiet review they are not due any more, and nobody is told."""
    minute = timedelta(minutes=1)
    await stores.rank(item("1.1", review_at=START + minute), item("1.2", review_at=START), item("1.3"), item("1.4", review_at=LATER))
    seq = (await stores.reader.get("1.1")).seq
    async with stores.reviews.begin_review() as review:
        due = await review.due(START + minute, 10)
        await review.store([ItemChange(msgspec.structs.replace(one, review_at=None, policy="p"), "", event_id(9), False) for one in due])

    assert [one.study.study_uid for one in due] == ["1.2", "1.1"]
    async with stores.reviews.begin_review() as review:
        assert await review.due(START + minute, 10) == []
    found = await stores.reader.get("1.1")
    assert (found.item.policy, found.item.review_at, found.seq) == ("p", None, seq)


async def test_a_review_that_moves_is_recorded(stores: Stores) -> None:
    """It has a new place, a new seq and a line of history of its own kind."""
    await stores.rank(item("1.1", due=10, review_at=START), item("1.2", due=20))
    async with stores.reviews.begin_review() as review:
        (due,) = await review.due(START, 10)
        moved = msgspec.structs.replace(due, due_at=START + timedelta(minutes=30), review_at=None)
        await review.store([ItemChange(moved, "the hold is over", event_id(9), kind="review")])

    assert await stores.listed() == ["1.2", "1.1"]
    assert (await stores.reader.history("1.1"))[0].kind == "review"
    assert (await stores.reader.get("1.1")).seq > (await stores.reader.get("1.2")).seq


async def test_other_rules_make_every_open_item_due(stores: Stores) -> None:
    """But not those that were ranked by them, nor closed ones."""
    closed = item("1.3", policy="old", state="closed", closed="reported")
    await stores.rank(item("1.1", policy="old"), item("1.2", policy="new"), closed, item("1.4"))

    assert await stores.reviews.ask_for_review("new", LATER) == 2
    async with stores.reviews.begin_review() as review:
        assert [one.study.study_uid for one in await review.due(LATER, 10)] == ["1.1", "1.4"]


async def test_a_claim_given_back_is_reviewed(stores: Stores) -> None:
    """What its pin held back is taken now."""
    await stores.rank(item("1.1"))
    await stores.actions.claim("1.1", "Ada", START)
    await stores.actions.release("1.1", "Ada", LATER)

    async with stores.reviews.begin_review() as review:
        assert len(await review.due(LATER, 10)) == 1


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (SubList("n", "N", modalities=("CT", "MR"), body_parts=("HEAD",)), ["1.1"]),
        (SubList("n", "N", patient_classes=("E",)), ["1.2"]),
        (SubList("n", "N", locations=("icu*", "4_W")), ["1.1", "1.3"]),
        (SubList("n", "N", locations=("4?W",)), ["1.2", "1.3"]),
        (SubList("n", "N"), ["1.1", "1.2", "1.3"]),
    ],
)
async def test_sub_lists(stores: Stores, part: SubList, expected: list[str]) -> None:
    """One truth, several lists: a filter by what a study is and where its patient is; % and _ mean themselves."""
    await stores.rank(
        item("1.1", due=1, modality="CT", body_part="head", location="ICU^3"),
        item("1.2", due=2, modality="CT", body_part="CHEST", location="4XW", patient_class="E"),
        item("1.3", due=3, modality="US", location="4_W"),
    )

    assert await stores.listed(part=part) == expected


async def test_studies_of_one_patient_know_of_each_other(stores: Stores) -> None:
    """Each row says how many other open ones there are."""
    await stores.rank(item("1.1", due=1), item("1.2", due=2), item("1.3", due=3, state="closed"), item("1.4", due=4, patient="p2"))

    rows = (await stores.reader.page(ListQuery())).items
    assert [(row.item.study.study_uid, row.same_patient) for row in rows] == [("1.1", 1), ("1.2", 1), ("1.4", 0)]
    assert await stores.listed(patient="p1") == ["1.1", "1.2"]
    assert (await stores.reader.get("1.2")).same_patient == 1
