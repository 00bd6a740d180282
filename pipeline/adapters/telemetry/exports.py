"""What services, pools and the monitor know, as samples of the catalogue: services keep figures, a scrape reads them here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.telemetry.metrics import METRICS, Labels, Metrics, Sample
from pipeline.domain.escalation import STANDING
from pipeline.ports.operations import Ranked
from pipeline.services.conditions import Operations
from pipeline.services.intake import Intake
from pipeline.services.letters import IntakeGate
from pipeline.services.monitor import Monitor

if TYPE_CHECKING:  # these belong to one role each: the others start without their code
    from pipeline.domain.window import Window
    from pipeline.services.alert_steps import AlertSteps
    from pipeline.services.churn import ChurnWatch
    from pipeline.services.context import ContextStage
    from pipeline.services.drift_tally import DriftTally
    from pipeline.services.escalation import Escalation
    from pipeline.services.escalation_stage import EscalationStage
    from pipeline.services.pictures import PictureStage
    from pipeline.services.ranking import RankingStage
    from pipeline.services.reviews import Review
    from pipeline.services.scoring import ScoringStage
    from pipeline.services.site_rules import SiteRulesInForce

log = structlog.get_logger()

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
    """What became of messages, and which of their values stay outside the catalogue."""

    def read() -> Iterator[Sample]:
        yield Sample("readfirst_intake_stopped", float(gate.stopped), {"gateway": name})
        for (outcome, reason), count in list(intake.outcomes.items()):
            yield Sample("readfirst_messages_total", count, {"gateway": name, "outcome": outcome, "reason": reason})
        for reason, count in list(intake.unmapped.items()):
            yield Sample("readfirst_unmapped_values_total", count, {"gateway": name, "reason": reason})

    metrics.source(read)


def lines(name: str, counts: Mapping[str, int], metrics: Metrics = METRICS) -> None:
    """What a gateway meets on its connections."""

    def read() -> Iterator[Sample]:
        for reason, count in list(counts.items()):
            yield Sample("readfirst_connections_total", count, {"gateway": name, "reason": reason})

    metrics.source(read)


def context(stage: ContextStage, pool: Database, metrics: Metrics = METRICS) -> None:
    """What became of input records, and the windows held."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield _records("context", "applied", "", stage.applied)
        for reason, count in list(stage.ignored.items()):
            yield _records("context", "ignored", reason, count)
        yield from _letters("context", stage.dead_lettered)
        yield Sample("readfirst_windows", stage.windows)
        yield Sample("readfirst_windows_limit", stage.windows_max)

    metrics.source(read)


def window_sizes(metrics: Metrics = METRICS, every_s: float = 1.0) -> Callable[[Window], None]:
    """To be shown windows: measures one in `every_s`, for packing one costs as much as ten events."""
    from pipeline.domain.packing import pack

    measured_at = float("-inf")

    def seen(window: Window) -> None:
        nonlocal measured_at
        now = monotonic()
        if not metrics.enabled or now - measured_at < every_s:
            return
        measured_at = now
        try:
            metrics.observe("readfirst_window_bytes", len(pack(window)))
        except Exception:  # a stage must not stop for one figure
            log.exception("window_not_measured")

    return seen


def scoring(stage: ScoringStage, pool: Database, metrics: Metrics = METRICS) -> None:
    """What became of requests, and which scorers are given up for now."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield _records("scoring", "applied", "model", stage.scored - stage.degraded)
        yield _records("scoring", "applied", "degraded", stage.degraded)
        yield _records("scoring", "applied", "rescored", stage.rescored)
        yield _records("scoring", "ignored", "superseded", stage.superseded)
        yield from _letters("scoring", stage.dead_lettered)
        for priority, count in stage.backlog.items():
            yield Sample("readfirst_scoring_backlog", count, {"priority": str(priority)})
        yield Sample("readfirst_scores_waiting", stage.waiting)
        yield from _breakers("scoring", stage.tripped)

    metrics.source(read)


def pictures(stage: PictureStage, pool: Database, metrics: Metrics = METRICS) -> None:
    """What became of images that arrived, and which image models are given up for now."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        for outcome, counts in (("applied", stage.applied), ("ignored", stage.ignored)):
            for reason, count in list(counts.items()):
                yield _records("pictures", outcome, reason, count)
        yield from _breakers("pictures", stage.tripped)

    metrics.source(read)


def escalation(stage: EscalationStage, judged: Escalation, steps: AlertSteps, pool: Database, metrics: Metrics = METRICS) -> None:
    """Alerts raised and withdrawn, steps taken, steps that were late."""
    database(pool, metrics)

    def read() -> Iterator[Sample]:
        yield _records("escalation", "applied", "raised", judged.raised)
        yield _records("escalation", "applied", "withdrawn", judged.withdrawn)
        yield _records("escalation", "ignored", "suppressed", judged.suppressed)
        yield _records("escalation", "ignored", "study-closed", judged.too_late)
        yield from _letters("escalation", stage.dead_lettered)
        yield Sample("readfirst_escalation_steps_total", steps.sent)
        yield Sample("readfirst_escalation_steps_late_total", steps.late)

    metrics.source(read)


def _breakers(stage: str, tripped: Sequence[bool]) -> Iterator[Sample]:
    for choice, given_up in enumerate(tripped):
        yield Sample("readfirst_breaker_open", float(given_up), {"stage": stage, "choice": str(choice)})


def _letters(stage: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    for reason, count in list(counts.items()):
        yield _records(stage, "dead-lettered", reason, count)


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
        yield from _letters("ranking", stage.dead_lettered)
        yield Sample("readfirst_reviews_total", review.moved, {"outcome": "moved"})
        yield Sample("readfirst_reviews_total", review.reviewed - review.moved, {"outcome": "unmoved"})

    metrics.source(read)


def drift(model: str, tally: DriftTally, metrics: Metrics = METRICS) -> None:
    """What the served version was asked today, and what it said, beside what it was made on; every worker tells of all of them."""

    def read() -> Iterator[Sample]:
        for one in tally.standing:
            labels: Labels = {"model": model, "input": one.input}
            yield Sample("readfirst_drift_rows", one.rows, labels)
            if one.verdict != "too few":
                yield Sample("readfirst_drift_psi", one.psi, labels)
                yield Sample("readfirst_drift_missing_ratio", one.missing, labels)

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
    for state in STANDING:  # all of them: a panel shows a line, not a hole
        yield Sample("readfirst_escalations", figures.escalations.get(state, 0), {"state": state})
    for crowd in figures.crowds:
        labels: Labels = {"patient_class": crowd.patient_class or "unknown", "priority": crowd.priority or "unknown"}
        yield Sample("readfirst_worklist_open", crowd.open, labels)
        yield Sample("readfirst_worklist_overdue", crowd.overdue, labels)


def _sources(seen: Operations) -> Iterator[Sample]:
    for source in seen.sources:
        yield Sample("readfirst_source_silence_seconds", source.silence.seconds, {"source": source.source})
        yield Sample("readfirst_source_missed_messages", source.silence.missed, {"source": source.source})
        yield Sample("readfirst_source_silent", float(source.silence.silent), {"source": source.source})
