"""The list in Postgres with very many open studies: one re-ranked, its pages, and a burst of new scores that must settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.benchmarks import servers
from pipeline.domain.ranking import rank
from pipeline.domain.urgency import severity_of
from pipeline.ports import Batch, ItemChange, ListQuery, Place, Received
from pipeline.services.ranking import RankingStage
from schemas import codec
from schemas.assessments import Assessment, Evidence, Risk, StudyState
from schemas.codes import RequestPriority
from schemas.topics import ASSESSMENTS

OPEN = 100_000
BURST = 5_000
SINGLE = 300
PAGES = 200
DEEP = 900
"""The page that stands below so many others of a hundred."""
PORTION = 2_000
BATCH = 500
GROUP = "bench"
PRIORITIES: tuple[RequestPriority, ...] = ("routine", "urgent", "asap", "stat")


def measure(progress: Progress, studies: int = OPEN, burst: int = BURST) -> dict[str, Any]:
    """Milliseconds in and around the database; the burst in seconds, from the first record to the whole list in its right order."""
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("postgres",), steps=("migrate",)) as settings:
        return asyncio.run(_measure(settings.postgres.dsn.get_secret_value(), progress, studies, burst))


async def _measure(dsn: str, progress: Progress, studies: int, burst: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    async with Database(dsn) as database:
        store, reader = PostgresRankingStore(database), PostgresWorklist(database)
        progress("fill", f"{studies:,} open studies")
        for start in range(0, studies, PORTION):
            items = [_change(_assessment(number, now), now) for number in range(start, min(start + PORTION, studies))]
            await _store(store, items)
        async with database.connection() as connection:
            await connection.execute("vacuum analyze worklist_item")
        progress("single", f"{SINGLE} studies, one by one")
        single = await _single(database, store, now, studies)
        progress("pages", "the first and the deep")
        pages = await _pages(reader, studies)
        progress("burst", f"{burst:,} new scores")
        found = await _burst(database, store, now, burst)
        await reader.close()
    return {"open": studies, "rerank_ms": single, **pages, "burst": burst, **found}


def _assessment(number: int, now: datetime, version: int = 1, probability: float | None = None) -> Assessment:
    study = StudyState(
        study_uid=f"1.2.826.{number}", ready_at=now - timedelta(seconds=number % 86_400), modality=("CT", "DX", "MR")[number % 3],
        priority=PRIORITIES[number % 4], patient_class=("E", "I", "O")[number % 3], indication="pain", complete=True, instances=2,
    )  # fmt: skip
    lab = Evidence(kind="critical-lab", code="potassium", label="K 6.8 mmol/L", severity=severity_of(60 + number % 997), value=6.8, at=now)
    risk = None if probability is None else Risk(scorer="triton", outcome="death", probability=probability, model="m")
    return Assessment(
        event_id=f"a{number}", patient=f"p{number % 70_000}", context_version=version, as_of=now, recorded_at=now, studies=[study],
        evidence=[lab], risk=risk,
    )  # fmt: skip


def _change(assessment: Assessment, now: datetime) -> ItemChange:
    return ItemChange(rank(None, assessment, assessment.studies[0], now), "images arrived", assessment.event_id)


async def _store(store: PostgresRankingStore, changes: Sequence[ItemChange]) -> None:
    async with store.begin(GROUP, [Place(ASSESSMENTS.name, 0)]) as transaction:
        await transaction.store(changes)


async def _single(database: Database, store: PostgresRankingStore, now: datetime, studies: int) -> dict[str, float]:
    """What the ranking stage does in the database for one study: read it locked, write it, its history, tell the pages, commit."""
    times = []
    for turn in range(SINGLE):
        told = _assessment(turn * 331 % studies, now, version=2 + turn, probability=0.3 + turn % 60 / 100)
        started = time.perf_counter()
        async with store.begin(GROUP, [Place(ASSESSMENTS.name, 0)]) as transaction:
            before = (await transaction.items([told.studies[0].study_uid]))[told.studies[0].study_uid]
            after = rank(before, told, told.studies[0], now)
            await transaction.store([ItemChange(after, "risk", told.event_id)])
        times.append(time.perf_counter() - started)
    return {**_spread(times), "update": await _in_database(database, now)}


async def _in_database(database: Database, now: datetime) -> float:
    """The update of one item alone, as Postgres itself times it (planning and execution), rolled back."""
    update = "update worklist_item set due_at = least(%s, target_at), seq = nextval('worklist_seq') where study_uid = %s"
    query = f"explain (analyze, format json) {update}"
    times = []
    for number in range(50):
        async with database.connection() as connection, connection.transaction(force_rollback=True):
            row = await (await connection.execute(query, (now, f"1.2.826.{number * 17}"))).fetchone()
        assert row is not None
        times.append(row[0][0]["Planning Time"] + row[0][0]["Execution Time"])
    return round(float(median(times)), 2)


async def _pages(reader: PostgresWorklist, studies: int) -> dict[str, Any]:
    first = await _timed(PAGES, lambda: reader.page(ListQuery(limit=100)))
    cursor = None
    for _ in range(min(DEEP, studies // 100 - 2)):
        cursor = (await reader.page(ListQuery(limit=100, after=cursor))).next
    deep = await _timed(PAGES, lambda: reader.page(ListQuery(limit=100, after=cursor)))
    return {"first_page_ms": first, "deep_page_ms": deep, "deep": min(DEEP, studies // 100 - 2)}


async def _timed(times: int, ask: Callable[[], Awaitable[object]]) -> dict[str, float]:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - started)
    return _spread(took)


async def _burst(database: Database, store: PostgresRankingStore, now: datetime, burst: int) -> dict[str, float]:
    """Through the ranking stage itself; then the list's order is held against the deadlines that the domain says."""
    stage = RankingStage(store, MemoryEventLog(), SystemClock(), GROUP)
    told = [_assessment(number * 19, now, version=10_000, probability=0.5 + number % 50 / 100) for number in range(burst)]
    records = [Received(ASSESSMENTS, 0, number, one.patient.encode(), codec.encode(one)) for number, one in enumerate(told)]
    started = time.perf_counter()
    for start in range(0, burst, BATCH):
        await stage.handle([Batch(ASSESSMENTS, 0, records[start : start + BATCH])])
    settled = time.perf_counter() - started
    wrong = await _wrong(database, told, now)
    return {"burst_s": round(settled, 2), "burst_wrong": wrong}


async def _wrong(database: Database, told: Sequence[Assessment], now: datetime) -> int:
    """How many studies of the burst are more than the dead band away from where their evidence puts them."""
    expected = {one.studies[0].study_uid: rank(None, one, one.studies[0], now).due_at for one in told}
    async with database.connection() as connection:
        rows = await (
            await connection.execute("select study_uid, due_at from worklist_item where study_uid = any(%s)", (list(expected),))
        ).fetchall()
    wrong: int = sum(due - expected[uid] > timedelta(seconds=60) for uid, due in rows) + len(expected) - len(rows)
    return wrong


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": round(median(ordered) * 1000, 2), "p95": round(ordered[int(len(ordered) * 0.95)] * 1000, 2)}
