"""Wires adapters to services: the one place that knows which adapter stands behind which port. Roles and tests call it.

What one role alone needs is imported where it is made: a gateway starts without the model's code, and seven processes start at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.identity.vault import PostgresVault
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.batches import PostgresOffsets
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.feedback import PostgresFeedback
from pipeline.adapters.postgres.ledger import PostgresLedger
from pipeline.adapters.postgres.model_life import PostgresDriftCounts, PostgresShadowScores
from pipeline.adapters.postgres.operations import PostgresSettledLetters, PostgresStanding
from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.adapters.postgres.study_ledger import PostgresStudyLedger
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.domain.site import Policy
from pipeline.services.intake import Intake
from pipeline.settings import Settings, site_key

if TYPE_CHECKING:
    from pipeline.adapters.kafka.ends import KafkaEnds
    from pipeline.adapters.onnx.registry import HeadRegistry
    from pipeline.adapters.onnx.versions import ModelVersions
    from pipeline.adapters.postgres.escalation import PostgresAlerts
    from pipeline.domain.drift import Reference
    from pipeline.domain.escalation_policy import EscalationPolicy
    from pipeline.domain.window import Window
    from pipeline.ports import FilmSource, ImageModel, WorklistReader
    from pipeline.ports.operations import Ranked
    from pipeline.services.alert_desk import AlertDesk
    from pipeline.services.alert_steps import AlertSteps
    from pipeline.services.assessing import Gather
    from pipeline.services.attribution import RiskAttribution
    from pipeline.services.context import ContextStage
    from pipeline.services.escalation import Escalation
    from pipeline.services.escalation_stage import EscalationStage
    from pipeline.services.letters import IntakeGate, LetterDesk
    from pipeline.services.looking_on import LookingOn
    from pipeline.services.monitor import Monitor
    from pipeline.services.picture_watch import PictureWatch
    from pipeline.services.pictures import PictureStage, ScorerName
    from pipeline.services.ranking import RankingStage
    from pipeline.services.reviews import Review
    from pipeline.services.scoring import ScoringStage
    from pipeline.services.site_rules import SiteRulesInForce


@dataclass(frozen=True, slots=True)
class EscalationParts:
    """stage: what the topic brings. escalation: what time brings. steps: what is to be sent."""

    stage: EscalationStage
    escalation: Escalation
    steps: AlertSteps


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process holds while it runs; closed by `resources`."""

    settings: Settings
    clock: SystemClock
    database: Database
    log: KafkaEventLog
    worklist: PostgresWorklist

    async def ping(self) -> None:
        """Raises Unavailable unless both Postgres and Kafka answer."""
        await asyncio.gather(self.database.ping(), self.log.ping())

    @property
    def offsets(self) -> PostgresOffsets:
        """The applied offsets."""
        return PostgresOffsets(self.database)

    @property
    def vault(self) -> PostgresVault:
        """The identity vault."""
        return PostgresVault(self.database, site_key(self.settings), self.clock)

    @property
    def feedback(self) -> PostgresFeedback:
        """Readers' words on findings."""
        return PostgresFeedback(self.database)

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

    @property
    def ledger(self) -> PostgresLedger:
        """The ledger's days."""
        return PostgresLedger(self.database)

    @property
    def models(self) -> ModelVersions:
        """The versions of the clinical model on this site."""
        from pipeline.adapters.onnx.versions import ModelVersions

        return ModelVersions(self.settings.models_dir, self.settings.triton.model)

    def heads(self) -> HeadRegistry:
        """The image heads of this site."""
        from pipeline.adapters.onnx.registry import HeadRegistry

        return HeadRegistry(self.settings.models_dir)

    @property
    def shadow_scores(self) -> PostgresShadowScores:
        """A candidate's scores."""
        return PostgresShadowScores(self.database)

    @property
    def drift_counts(self) -> PostgresDriftCounts:
        """What the model was asked."""
        return PostgresDriftCounts(self.database)

    def intake(self, gate: Callable[[], None] = lambda: None) -> Intake:
        """The way of a message through a gateway."""
        return Intake(self.log, PostgresReceipts(self.database), self.vault, self.clock, gate)

    @asynccontextmanager
    async def intake_gate(self) -> AsyncIterator[IntakeGate]:
        """Watches the dead letters while the block runs."""
        from pipeline.services.letters import IntakeGate

        async with self._ends() as ends:
            gate = IntakeGate(ends, PostgresSettledLetters(self.database), self.settings.gateways.dead_letters_max)
            watching = asyncio.create_task(gate.watch(), name="intake-gate")
            yield gate
            watching.cancel()

    def letters(self) -> LetterDesk:
        """The dead letters, for people."""
        from pipeline.adapters.kafka.dead_letters import KafkaLetterTopic
        from pipeline.services.letters import LetterDesk

        return LetterDesk(KafkaLetterTopic(self.settings.kafka), PostgresSettledLetters(self.database), self.log, self.clock)

    @asynccontextmanager
    async def monitor(self, on_ranked: Callable[[Sequence[Ranked]], None] = lambda ranked: None) -> AsyncIterator[Monitor]:
        """Looks at everything from outside; whoever opened it calls `look` or `watch`."""
        from pipeline.adapters.memory.event_log import partition_of
        from pipeline.services.monitor import Monitor

        partitions, versions = self.settings.kafka.partitions, [self.models, *self.heads().versions.values()]
        async with self._ends() as ends:
            yield Monitor(
                PostgresStanding(self.database),
                ends,
                PostgresSettledLetters(self.database),
                self.clock,
                lambda patient: partition_of(patient.encode(), partitions),
                partitions=partitions,
                zone=ZoneInfo(self.settings.gateways.default_time_zone),
                letters_limit=self.settings.gateways.dead_letters_max,
                on_ranked=on_ranked,
                refused=lambda: [each.model for each in versions if each.examined().refusal is not None],
            )

    @asynccontextmanager
    async def _ends(self) -> AsyncIterator[KafkaEnds]:
        from pipeline.adapters.kafka.ends import KafkaEnds

        ends = KafkaEnds(self.settings.kafka)
        try:
            yield ends
        finally:
            await ends.close()

    @asynccontextmanager
    async def site_rules(self) -> AsyncIterator[SiteRulesInForce]:
        """The site's rules, followed while the block runs; inside it they have been read once."""
        from pipeline.adapters.postgres.site import PostgresSiteRegister
        from pipeline.adapters.site.source import FileSiteSource
        from pipeline.services.site_rules import SiteRulesInForce

        rules = SiteRulesInForce(FileSiteSource(self.settings.site_file), PostgresSiteRegister(self.database), self.clock)
        await rules.refresh()
        following = asyncio.create_task(rules.run(), name="site-rules")
        try:
            yield rules
        finally:
            following.cancel()

    def context_stage(self, group: str, gather: Gather, on_window: Callable[[Window], None] = lambda window: None) -> ContextStage:
        """Facts, windows, assessments. on_window: shown of each batch the window that it touched last."""
        from pipeline.adapters.postgres.context_store import PostgresContextStore
        from pipeline.services.context import ContextStage

        return ContextStage(PostgresContextStore(self.database), self.log, self.clock, group, gather, on_window=on_window)

    def ranking_stage(self, group: str, policy: Callable[[], Policy]) -> RankingStage:
        """Assessments into ranks."""
        from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
        from pipeline.services.ranking import RankingStage

        return RankingStage(PostgresRankingStore(self.database), self.log, self.clock, group, policy, self.heads().scopes)

    def review(self, policy: Callable[[], Policy]) -> Review:
        """Items looked at again as time passes, or the rules change."""
        from pipeline.adapters.postgres.reviews import PostgresReviewStore
        from pipeline.services.reviews import Review

        return Review(PostgresReviewStore(self.database), self.log, self.clock, policy)

    @property
    def alerts(self) -> PostgresAlerts:
        """Alerts, to be read and written."""
        from pipeline.adapters.postgres.escalation import PostgresAlerts

        return PostgresAlerts(self.database)

    def alert_desk(self) -> AlertDesk:
        """What people do to alerts."""
        from pipeline.services.alert_desk import AlertDesk

        return AlertDesk(self.alerts, self.alerts, self.actions, self.clock)

    @asynccontextmanager
    async def escalation(self, group: str, site: Callable[[], Policy]) -> AsyncIterator[EscalationParts]:
        """Alerts from the worklist, and their messages, by the site's rules and in its wall time."""
        from pipeline.adapters.notify.channels import Channels
        from pipeline.services.alert_steps import AlertSteps
        from pipeline.services.escalation import Escalation
        from pipeline.services.escalation_stage import EscalationStage

        def policy() -> EscalationPolicy:
            return replace(site().escalation, time_zone=self.settings.gateways.default_time_zone)

        escalation = Escalation(self.alerts, self.worklist, self.clock, policy)
        stage = EscalationStage(escalation, self.offsets, self.worklist, self.log, self.clock, group)
        async with Channels() as channels:
            yield EscalationParts(
                stage, escalation, AlertSteps(self.alerts, channels, self.log, self.clock, policy, self.settings.web.address)
            )

    @asynccontextmanager
    async def scoring_stage(self, group: str) -> AsyncIterator[ScoringStage]:
        """Triton first where the settings name one, the same model in this process second."""
        from pipeline.adapters.onnx.scorer import OnnxScorer
        from pipeline.adapters.pictures.films import KeptFilms
        from pipeline.adapters.pictures.reading import PooledReader
        from pipeline.adapters.postgres.degraded_scores import PostgresDegradedScores
        from pipeline.adapters.triton.scorer import TritonScorer
        from pipeline.services.looking_on import watching
        from pipeline.services.scoring import ScoringStage

        triton, models, reader = self.settings.triton, self.models, PooledReader(self.objects)
        films = KeptFilms(reader)
        watch, local = self.looking_on(films, models), OnnxScorer(self.clock, models.in_force, films)
        served = None
        if triton.url:
            served = TritonScorer(triton.url, triton.model, triton.deadline_s, self.clock, models.in_force, models.folder_of, films)
        degraded, looking = PostgresDegradedScores(self.database), asyncio.create_task(watching(watch), name="looking-on")
        choices = served or local, local if served else None
        try:
            yield ScoringStage(self.offsets, degraded, self.log, *choices, self.clock, group, watch.note)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            films.close()
            reader.close()
            if served is not None:
                await served.close()

    def looking_on(self, films: FilmSource, models: ModelVersions) -> LookingOn:
        """The version that looks on, if any, and the counts of what was asked. films: for a version that reads them."""
        from pipeline.adapters.onnx import artefact
        from pipeline.adapters.onnx.asking import BESIDE
        from pipeline.adapters.onnx.scorer import OnnxScorer
        from pipeline.adapters.telemetry import exports
        from pipeline.services.drift_tally import DriftTally
        from pipeline.services.looking_on import LookingOn

        @cache
        def made_on(served: Path) -> tuple[str, Reference] | None:
            kept = artefact.load_distribution(served)
            return None if kept is None else (artefact.load_reference(served).version, kept)

        tally = DriftTally(self.drift_counts, lambda: made_on(models.in_force()), self.clock)
        exports.drift(models.model, tally)
        scorer = OnnxScorer(self.clock, lambda: models.shadow() or models.in_force(), films, BESIDE, measured_as="shadow")
        return LookingOn(lambda: scorer if models.shadow() else None, self.shadow_scores, tally)

    def picture_watch(self, registry: HeadRegistry) -> PictureWatch:
        """The versions of heads that look on, if any, and the counts of what the heads were asked."""
        from pipeline.adapters.onnx import heads
        from pipeline.adapters.onnx.pictures import OnnxImageModel
        from pipeline.adapters.telemetry import exports
        from pipeline.services.drift_tally import DriftTally
        from pipeline.services.picture_watch import Candidate, PictureWatch, served_as

        reference, versions = cache(heads.reference_in), registry.versions
        models = {head: OnnxImageModel(lambda of=of: of.shadow() or of.in_force(), "shadow") for head, of in versions.items()}  # type: ignore[misc]

        @cache
        def made_on(served: Path) -> tuple[str, Reference] | None:
            told, kept = reference(served), heads.load_distribution(served)
            return None if kept is None else (served_as(told.head, told.version), kept)

        def candidate(head: str) -> Candidate | None:
            return None if (shadow := versions[head].shadow()) is None else Candidate(reference(shadow), models[head])

        tallies = {
            head: DriftTally(self.drift_counts, lambda head=head: made_on(registry.served(head)), self.clock)  # type: ignore[misc]
            for head in versions
        }
        for head, tally in tallies.items():
            exports.drift(head, tally)
        return PictureWatch(candidate, self.shadow_scores, tallies)

    @asynccontextmanager
    async def picture_stage(self, group: str) -> AsyncIterator[PictureStage]:
        """Every head that is installed, each in the version of this site, by Triton first where the settings name one."""
        from pipeline.adapters.onnx.pictures import OnnxImageModel
        from pipeline.adapters.pictures.reading import PooledReader
        from pipeline.adapters.triton.pictures import TritonImageModel
        from pipeline.services.looking_on import watching
        from pipeline.services.pictures import InstalledHead, PictureStage

        triton, reader, registry, installed = self.settings.triton, PooledReader(self.objects), self.heads(), {}
        served = {name: TritonImageModel(triton.url, name, triton.image_deadline_s) for name in registry.versions} if triton.url else {}
        for name in registry.versions:
            models: list[tuple[ScorerName, ImageModel]] = [("triton", served[name])] if name in served else []
            local = OnnxImageModel(partial(registry.served, name))
            installed[name] = InstalledHead(partial(registry.reference, name), [*models, ("onnxruntime", local)])
        watch = self.picture_watch(registry)
        looking = asyncio.create_task(watching(watch), name="looking-on")
        try:
            yield PictureStage(self.offsets, self.log, reader, installed, self.clock, group, watch.note)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            reader.close()
            for model in served.values():
                await model.close()


@asynccontextmanager
async def attribution(settings: Settings, reader: WorklistReader, film_within_s: float = 10.0) -> AsyncIterator[RiskAttribution]:
    """How much single readings moved a risk, by the version that gave it, and the film that it looked at."""
    from pipeline.adapters.onnx.versions import ModelVersions, in_process
    from pipeline.adapters.pictures.films import KeptFilms
    from pipeline.adapters.pictures.reading import PooledReader
    from pipeline.services.attribution import MOST_KEPT, RiskAttribution

    versions = ModelVersions(settings.models_dir, settings.triton.model)
    pictures = PooledReader(LocalObjectStore(settings.objects_dir), max(film_within_s, 30.0), stays=False)
    films = KeptFilms(pictures, MOST_KEPT)
    try:
        yield RiskAttribution(reader, in_process(versions.folder_of, SystemClock(), films, film_within_s))
    finally:
        films.close()
        pictures.close()


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
