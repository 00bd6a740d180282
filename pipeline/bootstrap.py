"""Wires adapters to services: the one place that knows which adapter stands behind which port. Roles and tests call it.

What one role alone needs is imported where it is made: a gateway starts without the model's code, and seven processes start at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.identity.vault import PostgresVault
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.batches import PostgresOffsets
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.adapters.postgres.study_ledger import PostgresStudyLedger
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.errors import StackError
from pipeline.services.intake import Intake
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.services.context import ContextStage
    from pipeline.services.ranking import RankingStage
    from pipeline.services.scoring import ScoringStage


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process holds while it runs; closed by `resources`."""

    settings: Settings
    clock: SystemClock
    database: Database
    log: KafkaEventLog
    worklist: PostgresWorklist

    @property
    def offsets(self) -> PostgresOffsets:
        """The applied offsets."""
        return PostgresOffsets(self.database)

    @property
    def vault(self) -> PostgresVault:
        """The identity vault."""
        return PostgresVault(self.database, site_key(self.settings), self.clock)

    @property
    def actions(self) -> PostgresActions:
        """Claims and acknowledgements."""
        return PostgresActions(self.database)

    @property
    def objects(self) -> LocalObjectStore:
        """The object store."""
        return LocalObjectStore(self.settings.objects_dir)

    @property
    def studies(self) -> PostgresStudyLedger:
        """Studies in progress, as the DICOM gateways share them."""
        return PostgresStudyLedger(self.database)

    def intake(self) -> Intake:
        """The way of a message through a gateway."""
        return Intake(self.log, PostgresReceipts(self.database), self.vault, self.clock)

    def context_stage(self, group: str) -> ContextStage:
        """Facts, windows, assessments."""
        from pipeline.adapters.postgres.context_store import PostgresContextStore
        from pipeline.services.context import ContextStage

        return ContextStage(PostgresContextStore(self.database), self.log, self.clock, group)

    def ranking_stage(self, group: str) -> RankingStage:
        """Assessments into ranks."""
        from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
        from pipeline.services.ranking import RankingStage

        return RankingStage(PostgresRankingStore(self.database), self.log, self.clock, group)

    @asynccontextmanager
    async def scoring_stage(self, group: str) -> AsyncIterator[ScoringStage]:
        """Triton first where the settings name one, the same model in this process second."""
        from pipeline.adapters.onnx.scorer import OnnxScorer
        from pipeline.adapters.postgres.degraded_scores import PostgresDegradedScores
        from pipeline.adapters.triton.scorer import TritonScorer
        from pipeline.services.scoring import ScoringStage

        triton = self.settings.triton
        local = OnnxScorer(self.clock)
        served = TritonScorer(triton.url, triton.model, triton.deadline_s, self.clock) if triton.url else None
        try:
            degraded = PostgresDegradedScores(self.database)
            yield ScoringStage(self.offsets, degraded, self.log, served or local, local if served else None, self.clock, group)
        finally:
            if served is not None:
                await served.close()


@asynccontextmanager
async def resources(settings: Settings) -> AsyncIterator[Resources]:
    """Opens what a role needs; waits for no server, so that a role can start before its servers and mend itself after them."""
    async with Database.from_settings(settings.postgres) as database:
        log = KafkaEventLog(settings.kafka)
        worklist = PostgresWorklist(database)
        try:
            yield Resources(settings, SystemClock(), database, log, worklist)
        finally:
            await worklist.close()
            await log.close()


def site_key(settings: Settings) -> bytes:
    """The key of pseudonyms and vault. Raises StackError where none is set."""
    if settings.site_key is None:
        raise StackError(
            "no site key is set", "set READFIRST_SITE_KEY to 64 hex digits (openssl rand -hex 32) and keep it: it cannot change later"
        )
    try:
        key = bytes.fromhex(settings.site_key.get_secret_value())
    except ValueError as error:
        raise StackError("the site key is not hexadecimal", "set READFIRST_SITE_KEY to 64 hex digits") from error
    if len(key) != 32:
        raise StackError(f"the site key has {len(key)} bytes, not 32", "set READFIRST_SITE_KEY to 64 hex digits")
    return key
