"""The contract of LedgerStore, held by the memory twin and by Postgres."""

from __future__ import annotations

from dataclasses import replace as replace_
from datetime import date, time, timedelta

import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.ledger import MemoryLedger
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.escalation import PostgresAlerts
from pipeline.adapters.postgres.ledger import PostgresLedger
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.domain import alert_words
from pipeline.domain.escalation_policy import Budget
from pipeline.domain.ledger import Raised
from pipeline.domain.site import DEFAULT
from pipeline.ports import ItemChange, LedgerStore, Place, RankingStore, WorklistActions
from pipeline.ports.escalation import AlertChange, AlertStore
from pipeline.services.adjusting import Adjusting
from pipeline.services.ledger import keep
from schemas.worklist import WorklistItem
from tests.alert_builders import alert
from tests.store_fixtures import START, event_id, item

Stores = tuple[LedgerStore, RankingStore, WorklistActions, AlertStore]
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Empty."""
    if request.param == "memory":
        worklist = MemoryWorklist()
        return MemoryLedger(worklist), worklist, worklist, worklist.alerts
    database = request.getfixturevalue("database")
    return PostgresLedger(database), PostgresRankingStore(database), PostgresActions(database), PostgresAlerts(database)


async def put(ranking: RankingStore, *items: WorklistItem) -> None:
    """As the ranking stage would."""
    async with ranking.begin("g", [Place("assessments", 0)]) as transaction:
        await transaction.items([each.study.study_uid for each in items])
        await transaction.store([ItemChange(each, "test", event_id(1)) for each in items])


def closed(listed: WorklistItem, why: str, minutes: float) -> WorklistItem:
    """The same study, off the list."""
    study = replace(listed.study, closed=why)  # type: ignore[arg-type]
    version = listed.context_version + 1
    return replace(listed, study=study, state="closed", ranked_at=START + minutes * MINUTE, context_version=version)


async def test_a_read_begins_with_its_claim(stores: Stores) -> None:
    """Claimed studies when they were claimed, others when their report came; cancelled and open ones were not read."""
    ledger, ranking, actions, _ = stores
    first, second, third, fourth = (item(uid) for uid in ("1", "2", "3", "4"))
    await put(ranking, first, second, third, fourth)
    await actions.claim("1", "Dr. A", START + 3 * MINUTE)
    await put(ranking, closed(first, "reported", 9), closed(second, "reported", 8), closed(third, "cancelled", 7))
    reads = await ledger.reads(START, START + 60 * MINUTE)

    assert {read.study_uid: read.begun_at for read in reads} == {"1": START + 3 * MINUTE, "2": START + 8 * MINUTE}
    assert await ledger.reads(START + 60 * MINUTE, START + 90 * MINUTE) == []


async def test_what_a_reader_has_moved_is_known_after_the_reading(stores: Stores) -> None:
    """The override itself ends with the report; a hold, or an override of another study, is none."""
    ledger, ranking, actions, _ = stores
    first, second = item("1"), item("2")
    await put(ranking, first, second)
    clock = ManualClock(START + MINUTE)
    desk = Adjusting(actions, clock, lambda: DEFAULT)
    await desk.override("1", "Dr. A", START + 20 * MINUTE, 60, "seen in the round")
    await desk.hold("2", "Dr. A", "images-missing", None, None)
    await put(ranking, closed(first, "reported", 9), closed(second, "reported", 8))

    assert {read.study_uid: read.overridden for read in await ledger.reads(START, START + 60 * MINUTE)} == {"1": True, "2": False}
    clock.advance(60 * MINUTE)
    assert [day.overridden for day in await keep(ledger, clock, "UTC")] == [1]


async def test_alerts_on_studies_count(stores: Stores) -> None:
    """With what the reader said; an alert on a feed is no study's."""
    ledger, ranking, _, alerts = stores
    standing = [alert("1.2", confirmed=True), alert("1.3", muted="budget", state="suppressed"), alert("feed/labs", study_uid=None)]
    async with alerts.begin() as transaction:
        entries = [alert_words.entry(each, "raised", "because", START) for each in standing]
        await transaction.store([AlertChange(each, entry) for each, entry in zip(standing, entries, strict=True)])

    assert sorted(await ledger.raised(START, START + MINUTE)) == [Raised(START, False, True), Raised(START, True, None)]
    assert await ledger.raised(START + MINUTE, START + 60 * MINUTE) == []

    await put(ranking, item("1.2"))
    await put(ranking, closed(item("1.2"), "reported", 9))
    two = replace_(DEFAULT, escalation=replace_(DEFAULT.escalation, budget=Budget(shift_starts=(time(8), time(20)))))
    (day,) = await keep(
        ledger, ManualClock(START + 10 * 60 * MINUTE), "UTC", two
    )  # 18:00: 8/12 of the night's shift and 10/12 of the day's
    assert (day.alerts.raised, day.alerts.muted, day.alerts.per_shift) == (1, 1, 0.67)
    _, day = await keep(ledger, ManualClock(START + 20 * 60 * MINUTE), "UTC", two)
    assert (day.alerts.raised, day.alerts.per_shift) == (1, 0.5)


async def test_days_are_kept_and_told_anew(stores: Stores) -> None:
    """The newest first; today is told again when one more report has come."""
    ledger, ranking, *_ = stores
    clock = ManualClock(START + 60 * MINUTE)
    first, second = item("1"), item("2")
    await put(ranking, first, second)
    await put(ranking, closed(first, "reported", 9))
    await keep(ledger, clock, "Europe/Berlin")
    assert [(day.day, day.read) for day in await ledger.days()] == [(date(2026, 3, 2), 1)]

    await put(ranking, closed(second, "reported", 30))
    told = await keep(ledger, clock, "Europe/Berlin")
    assert [day.read for day in told] == [2]
    assert await ledger.days() == told

    clock.advance(timedelta(days=1))
    third = item("3")
    await put(ranking, third)
    await put(ranking, replace(closed(third, "reported", 9), ranked_at=clock.now()))
    await keep(ledger, clock, "Europe/Berlin")
    assert [(day.day.day, day.read) for day in await ledger.days()] == [(3, 1), (2, 2)]
    assert len(await ledger.days(limit=1)) == 1


async def test_a_day_without_reads_is_told_once_the_ledger_has_begun(stores: Stores) -> None:
    """Not before it; and after a pause the days that went by are told too, and the rest of the one on which it began."""
    ledger, ranking, *_ = stores
    clock = ManualClock(START + 60 * MINUTE)
    assert await keep(ledger, clock, "UTC") == [] == await ledger.days()
    await put(ranking, item("1"), item("2"))
    await put(ranking, closed(item("1"), "reported", 9))
    await keep(ledger, clock, "UTC")
    await put(ranking, closed(item("2"), "reported", 9))
    clock.advance(timedelta(days=4))
    await keep(ledger, clock, "UTC")
    assert [(day.day.day, day.read, day.wait_mean) for day in await ledger.days()] == [
        (6, 0, None), (5, 0, None), (4, 0, None), (3, 0, None), (2, 2, 9.0)
    ]  # fmt: skip
