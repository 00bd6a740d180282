"""The contract of LedgerStore, held by the memory twin and by Postgres."""

from __future__ import annotations

from datetime import date, timedelta

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
from pipeline.domain.ledger import Raised
from pipeline.ports import ItemChange, LedgerStore, Place, RankingStore, WorklistActions
from pipeline.ports.escalation import AlertChange, AlertStore
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


async def test_alerts_on_studies_count(stores: Stores) -> None:
    """With what the reader said; an alert on a feed is no study's."""
    ledger, *_, alerts = stores
    standing = [alert("1.2", confirmed=True), alert("1.3", muted="budget", state="suppressed"), alert("feed/labs", study_uid=None)]
    async with alerts.begin() as transaction:
        entries = [alert_words.entry(each, "raised", "because", START) for each in standing]
        await transaction.store([AlertChange(each, entry) for each, entry in zip(standing, entries, strict=True)])

    assert sorted(await ledger.raised(START, START + MINUTE)) == [Raised(START, False, True), Raised(START, True, None)]
    assert await ledger.raised(START + MINUTE, START + 60 * MINUTE) == []


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
