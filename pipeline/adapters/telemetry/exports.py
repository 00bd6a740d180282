"""What services, pools and the monitor know, as samples of the catalogue: services keep figures, a scrape reads them here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.telemetry.metrics import METRICS, Labels, Metrics, Sample
from pipeline.ports.operations import Ranked
from pipeline.services.conditions import Operations
from pipeline.services.intake import Intake
from pipeline.services.letters import IntakeGate
from pipeline.services.monitor import Monitor

if TYPE_CHECKING:  # these belong to one role each: the others start without their code
    from pipeline.services.alert_steps import AlertSteps
    from pipeline.services.churn import ChurnWatch
    from pipeline.services.context import ContextStage
    from pipeline.services.escalation import Escalation
    from pipeline.services.ranking import RankingStage
    from pipeline.services.reviews import Review
    from pipeline.services.scoring import ScoringStage
    from pipeline.services.site_rules import SiteRulesInForce

STALE_AFTER_S = 15.0
"""A look older than this is not served: no figure is better than an old one, and its absence raises an alert."""


def database(pool: Database, metrics: Metrics = METRICS) -> None:
    """The pool's use."""

    def read() -> Iterator[Sample]:
        stats = pool.stats()
        idle = stats.get("pool_available", 0)
        yield Sample("readfirst_database_connections", idle, {"state": "idle"})
        yield Sample("readfirst_database_connections", max(stats.get("pool_size", 0) - idle, 0), {"state": "used"})
        yield Sample("readfirst_database_waiting", stats.get("requests_waiting", 0))

    metrics.source(read)


def gateway(name: str, intake: Intake, gate: IntakeGate, metrics: Metrics = METRICS) -> None:
    """What became of messages."""

    def read() -> Iterator[Sample]:
        yield Sample("readfirst_intake_stopped", float(gate.stopped), {"gateway": name})
        for (outcome, reason), count in list(intake.outcomes.items()):
            yield Sample("readfirst_messages_total", count, {"gateway": name, "outcome": outcome, "reason": reason})

    metrics.source(read)


def context(stage: ContextStage, pool: Database, metrics: Metrics = METRICS) -> None:
    """What became of input records, and the windows held."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield _records("context", "applied", "", stage.applied)
        for reason, count in list(stage.ignored.items()):
            yield _records("context", "ignored", reason, count)
        for reason, count in list(stage.dead_lettered.items()):
            yield _records("context", "dead-lettered", reason, count)
        yield Sample("readfirst_windows", stage.windows)
        yield Sample("readfirst_windows_limit", stage.windows_max)

    metrics.source(read)


def scoring(stage: ScoringStage, pool: Database, metrics: Metrics = METRICS) -> None:
    """What became of requests, and which scorers are given up for now."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield _records("scoring", "applied", "model", stage.scored - stage.degraded)
        yield _records("scoring", "applied", "degraded", stage.degraded)
        yield _records("scoring", "applied", "rescored", stage.rescored)
        yield _records("scoring", "ignored", "superseded", stage.superseded)
        yield _records("scoring", "dead-lettered", "", stage.dead_lettered)
        yield Sample("readfirst_scores_waiting", stage.waiting)
        for choice, tripped in enumerate(stage.tripped):
            yield Sample("readfirst_breaker_open", float(tripped), {"choice": str(choice)})

    metrics.source(read)


def escalation(judged: Escalation, steps: AlertSteps, pool: Database, metrics: Metrics = METRICS) -> None:
    """Alerts raised and withdrawn, steps taken, steps that were late."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield _records("escalation", "applied", "raised", judged.raised)
        yield _records("escalation", "applied", "withdrawn", judged.withdrawn)
        yield _records("escalation", "ignored", "suppressed", judged.suppressed)
        yield Sample("readfirst_escalation_steps_total", steps.sent)
        yield Sample("readfirst_escalation_steps_late_total", steps.late)

    metrics.source(read)


def _records(stage: str, outcome: str, reason: str, count: int) -> Sample:
    return Sample("readfirst_records_total", count, {"stage": stage, "outcome": outcome, "reason": reason})


def ranked(events: Sequence[Ranked], metrics: Metrics = METRICS) -> None:
    """How long each event took to its rank."""
    for event in events:
        metrics.observe("readfirst_event_to_rank_seconds", max((event.ranked_at - event.received_at).total_seconds(), 0.0))
        if event.true_at is not None:
            metrics.observe("readfirst_truth_to_rank_seconds", max((event.ranked_at - event.true_at).total_seconds(), 0.0))


def site(rules: SiteRulesInForce, metrics: Metrics = METRICS) -> None:
    """Whether the newest site file was refused."""
    metrics.source(lambda: [Sample("readfirst_site_file_refused", float(bool(rules.faults)))])


def ranking(stage: RankingStage, review: Review, metrics: Metrics = METRICS) -> None:
    """What was odd, and what was looked at again."""

    def read() -> Iterator[Sample]:
        for reason, count in list(stage.odd.items()):
            yield Sample("readfirst_odd_values_total", count, {"reason": reason})
        yield _records("ranking", "applied", "changed", stage.ranked)
        yield _records("ranking", "applied", "unchanged", stage.unchanged)
        yield _records("ranking", "ignored", "outdated", stage.outdated)
        yield _records("ranking", "dead-lettered", "", stage.dead_lettered)
        yield Sample("readfirst_reviews_total", review.moved, {"outcome": "moved"})
        yield Sample("readfirst_reviews_total", review.reviewed - review.moved, {"outcome": "unmoved"})

    metrics.source(read)


def churn(watch: ChurnWatch, metrics: Metrics = METRICS) -> None:
    """How restless the list was in the last hour."""

    def read() -> Iterator[Sample]:
        if watch.last is not None:
            yield Sample("readfirst_worklist_moves_per_study", watch.last.moves_per_study)
            yield Sample("readfirst_worklist_top_moves", watch.last.top_moves)
            yield Sample("readfirst_worklist_churn_ratio", watch.last.ratio)

    metrics.source(read)


def web(clients: Callable[[], int], watching: Monitor, pool: Database, metrics: Metrics = METRICS) -> None:
    """Lag, list, sources and letters, while the last look is fresh; the pages that follow live; the pool."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield Sample("readfirst_stream_clients", clients())
        seen = watching.now
        if seen is None:
            return
        yield Sample("readfirst_looked_timestamp_seconds", seen.at.timestamp())
        if watching.age_s() > STALE_AFTER_S:
            return
        for store, up in seen.up.items():
            yield Sample("readfirst_store_up", float(up), {"store": store})
        if seen.up.get("postgres"):
            yield from _list(seen)
            yield from _sources(seen)
        if seen.up.get("kafka"):
            yield from _progress(seen)

    metrics.source(read)


def _progress(seen: Operations) -> Iterator[Sample]:
    yield Sample("readfirst_dead_letters", seen.letters)
    yield Sample("readfirst_dead_letters_limit", seen.letters_limit)
    for each in seen.stages:
        yield Sample("readfirst_studies_behind", each.studies, {"stage": each.stage.name})
        for lag in each.lags:
            labels: Labels = {"stage": lag.stage, "topic": lag.topic, "partition": str(lag.partition)}
            yield Sample("readfirst_lag_records", lag.records, labels)
            yield Sample("readfirst_lag_seconds", lag.seconds, labels)
            yield Sample("readfirst_standstill_seconds", lag.standstill_s, labels)


def _list(seen: Operations) -> Iterator[Sample]:
    figures, total = seen.figures, max(seen.figures.open, 1)
    yield Sample("readfirst_clock_offset_seconds", seen.clock_offset_s)
    yield Sample("readfirst_worklist_degraded_ratio", figures.degraded / total)
    yield Sample("readfirst_worklist_provisional_ratio", figures.provisional / total)
    yield Sample("readfirst_worklist_unmatched", figures.unmatched)
    oldest = (seen.at - figures.oldest_ready_at).total_seconds() if figures.oldest_ready_at else 0.0
    yield Sample("readfirst_worklist_oldest_seconds", oldest)
    if figures.oldest_score is not None:
        yield Sample("readfirst_score_age_seconds", (seen.at - figures.oldest_score).total_seconds())
    due = figures.escalation_due_at
    yield Sample("readfirst_escalation_overdue_seconds", max((seen.at - due).total_seconds(), 0.0) if due else 0.0)
    for state, count in figures.escalations.items():
        yield Sample("readfirst_escalations", count, {"state": state})
    for crowd in figures.crowds:
        labels: Labels = {"patient_class": crowd.patient_class or "unknown", "priority": crowd.priority or "unknown"}
        yield Sample("readfirst_worklist_open", crowd.open, labels)
        yield Sample("readfirst_worklist_overdue", crowd.overdue, labels)


def _sources(seen: Operations) -> Iterator[Sample]:
    for source in seen.sources:
        yield Sample("readfirst_source_silence_seconds", source.silence.seconds, {"source": source.source})
        yield Sample("readfirst_source_missed_messages", source.silence.missed, {"source": source.source})
        yield Sample("readfirst_source_silent", float(source.silence.silent), {"source": source.source})
