"""A site file that changes while the list is full: real file, real Postgres, the services that the ranking agent runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.reviews import PostgresReviewStore
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.adapters.site.published import default_yaml
from pipeline.adapters.site.source import FileSiteSource
from pipeline.ports import Batch, Received
from pipeline.services.adjusting import Adjusting
from pipeline.services.ranking import RankingStage
from pipeline.services.reviews import Review
from pipeline.services.site_rules import SiteRulesInForce
from schemas import codec
from schemas.assessments import Assessment, StudyState
from schemas.topics import ASSESSMENTS, WORKLIST

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DEFAULTS = default_yaml().replace("version: default/1", "version: day")
SHORTER = default_yaml().replace("version: default/1", "version: night").replace("routine: {emergency: 240", "routine: {emergency: 200")
BAD = DEFAULTS.replace("routine: {emergency: 240", "routine: {emergency: -240")


def assessment(number: int, version: int = 1) -> Received:
    study = StudyState(study_uid=f"1.2.{number}", ready_at=NOON, priority="routine", patient_class="E", complete=True)
    told = Assessment(event_id=f"e{number}", patient=f"p{number}", context_version=version, as_of=NOON, recorded_at=NOON, studies=[study])
    return Received(ASSESSMENTS, 0, number if version == 1 else 100, told.patient.encode(), codec.encode(told))


async def test_the_list_follows_the_file_and_keeps_what_readers_did(database: Database, tmp_path: Path) -> None:
    """Hot reload re-ranks every open study; a bad file is refused and the old rules rank on; a hold comes through a new rank, and ends."""
    file = tmp_path / "site.yaml"
    file.write_text(DEFAULTS)
    clock, log, register, reader = ManualClock(NOON), MemoryEventLog(), PostgresSiteRegister(database), PostgresWorklist(database)
    rules = SiteRulesInForce(FileSiteSource(file), register, clock)
    await rules.refresh()
    stage = RankingStage(PostgresRankingStore(database), log, clock, "ranking", rules.policy)
    review = Review(PostgresReviewStore(database), log, clock, rules.policy)
    await stage.handle([Batch(ASSESSMENTS, 0, [assessment(number) for number in range(100)])])
    assert await review.once() == 0
    adjusting = Adjusting(PostgresActions(database), clock, rules.policy)
    await adjusting.hold("1.2.7", "Ada", "images-missing", 30, None)

    file.write_text(SHORTER)
    await rules.refresh()
    told = len(log.records(WORKLIST))
    assert await review.once() == 100
    item = (await reader.get("1.2.3")).item
    assert (item.due_at, item.policy) == (NOON + 200 * MINUTE, rules.policy().version)
    assert (await reader.history("1.2.3"))[0].cause.startswith("policy changed to night+")
    assert len(log.records(WORKLIST)) == told + 100
    assert (await reader.get("1.2.7")).item.adjustment is None, "what became more pressing is no longer set aside"

    file.write_text(BAD)
    await rules.refresh()
    assert await review.once() == 0 and rules.policy().version.startswith("night+")
    newest = (await register.versions())[0]
    assert newest.faults is not None and f"{file}:" in newest.faults[0] and "targets.routine.emergency" in newest.faults[0]

    await adjusting.hold("1.2.8", "Ada", "images-missing", 30, None)
    await stage.handle([Batch(ASSESSMENTS, 0, [assessment(8, version=2)])])
    held = (await reader.get("1.2.8")).item
    assert held.adjustment is not None and held.adjustment.hold is not None and held.due_at == NOON + 230 * MINUTE
    clock.advance(31 * MINUTE)
    assert await review.once() == 1
    back = (await reader.get("1.2.8")).item
    assert back.adjustment is not None and back.adjustment.hold is None and back.due_at == NOON + 230 * MINUTE
    await reader.close()
