"""Every metric's name, kind, labels and meaning: the one place; `infra/METRICS.md` is generated from it.

python -m pipeline.adapters.telemetry.catalogue > infra/METRICS.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "readfirst_build_info",
    # how far behind
    "readfirst_lag_records",
    "readfirst_lag_seconds",
    "readfirst_standstill_seconds",
    "readfirst_studies_behind",
    "readfirst_store_up",
    "readfirst_clock_offset_seconds",
    "readfirst_looked_timestamp_seconds",
    # what the gateways and stages do
    "readfirst_messages_total",
    "readfirst_unmapped_values_total",
    "readfirst_connections_total",
    "readfirst_intake_stopped",
    "readfirst_records_total",
    "readfirst_batch_seconds",
    "readfirst_batch_records",
    "readfirst_windows",
    "readfirst_windows_limit",
    "readfirst_window_bytes",
    # the model
    "readfirst_scorer_seconds",
    "readfirst_breaker_open",
    "readfirst_scoring_backlog",
    "readfirst_scores_waiting",
    "readfirst_score_age_seconds",
    "readfirst_drift_rows",
    "readfirst_drift_psi",
    "readfirst_drift_missing_ratio",
    # the promises
    "readfirst_event_to_rank_seconds",
    "readfirst_truth_to_rank_seconds",
    "readfirst_escalations",
    "readfirst_escalation_steps_total",
    "readfirst_escalation_steps_late_total",
    "readfirst_escalation_overdue_seconds",
    # the list
    "readfirst_worklist_open",
    "readfirst_worklist_overdue",
    "readfirst_worklist_oldest_seconds",
    "readfirst_worklist_degraded_ratio",
    "readfirst_worklist_provisional_ratio",
    "readfirst_worklist_unmatched",
    "readfirst_worklist_moves_per_study",
    "readfirst_worklist_top_moves",
    "readfirst_worklist_churn_ratio",
    "readfirst_odd_values_total",
    "readfirst_reviews_total",
    "readfirst_site_file_refused",
    "readfirst_stream_clients",
    # the sources and the dead letters
    "readfirst_source_silence_seconds",
    "readfirst_source_missed_messages",
    "readfirst_source_silent",
    "readfirst_dead_letters",
    "readfirst_dead_letters_limit",
    # the stores
    "readfirst_database_seconds",
    "readfirst_database_connections",
    "readfirst_database_waiting",
]
Label = Literal[
    "role",
    "version",
    "stage",
    "topic",
    "partition",
    "store",
    "outcome",
    "reason",
    "gateway",
    "scorer",
    "choice",
    "state",
    "patient_class",
    "priority",
    "source",
    "model",
    "input",
]
Kind = Literal["counter", "gauge", "histogram"]

VALUES_MAX: Mapping[Label, int] = {"partition": 256, "reason": 64, "source": 64, "version": 2, "input": 96}
"""Most different values that a process ever gives a label; what comes after them is counted as "other". Where nothing is said: 24."""
VALUES_MAX_ELSE = 24

LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0)
LONG = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
COUNT = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0)
BYTES = (512.0, 1024.0, 2048.0, 4096.0, 8192.0, 12288.0, 24576.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the catalogue. buckets: upper bounds of a histogram."""

    kind: Kind
    labels: tuple[Label, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


_PLACE: tuple[Label, ...] = ("stage", "topic", "partition")

CATALOGUE: Mapping[Name, Metric] = {
    "readfirst_build_info": Metric("gauge", ("role", "version"), "always 1: which version of which role this is"),
    "readfirst_lag_records": Metric("gauge", _PLACE, "records that the stage has not applied yet"),
    "readfirst_lag_seconds": Metric("gauge", _PLACE, "age of the next record not yet applied, by its own timestamp; 0 on a quiet topic"),
    "readfirst_standstill_seconds": Metric("gauge", _PLACE, "how long records have been waiting while the applied offset did not move"),
    "readfirst_studies_behind": Metric("gauge", ("stage",), "open studies of patients whose partitions are behind by more than 5 s"),
    "readfirst_store_up": Metric("gauge", ("store",), "1 while the web role can read Kafka or Postgres"),
    "readfirst_clock_offset_seconds": Metric("gauge", (), "this machine's clock less the database server's"),
    "readfirst_looked_timestamp_seconds": Metric("gauge", (), "when lag, list and sources were last looked at"),
    "readfirst_messages_total": Metric("counter", ("gateway", "outcome", "reason"), "messages answered by a gateway"),
    "readfirst_unmapped_values_total": Metric(
        "counter",
        ("gateway", "reason"),
        "values kept as they came, but no reading: code or unit not known, no number, or impossible in size or time",
    ),
    "readfirst_connections_total": Metric(
        "counter",
        ("gateway", "reason"),
        "what the HL7 port meets: connections, broken frames, slow or too many senders, no answers",
    ),
    "readfirst_intake_stopped": Metric("gauge", ("gateway",), "1 while a gateway turns messages away because too many dead letters wait"),
    "readfirst_records_total": Metric("counter", ("stage", "outcome", "reason"), "records by what became of them in a stage"),
    "readfirst_batch_seconds": Metric("histogram", ("stage",), "time to handle a batch, commit included", SHORT),
    "readfirst_batch_records": Metric("histogram", ("stage",), "records of a batch", COUNT),
    "readfirst_windows": Metric("gauge", (), "patient windows in the context worker's memory"),
    "readfirst_windows_limit": Metric("gauge", (), "the most it keeps"),
    "readfirst_window_bytes": Metric(
        "histogram", (), "size of a patient's window, packed: once a second the one last touched; asked for: 8192 at most", BYTES
    ),
    "readfirst_scorer_seconds": Metric(
        "histogram",
        ("scorer", "outcome"),
        "time of one request to a scorer: triton, onnxruntime (in-process); beside the live scoring: shadow, readings (single ones)",
        SHORT,
    ),
    "readfirst_breaker_open": Metric("gauge", ("stage", "choice"), "1 while this choice of scorer is not asked; 0 is the first choice"),
    "readfirst_scoring_backlog": Metric(
        "gauge", ("priority",), "requests in hand that no scorer has answered yet, by Triton's priority, 1 first"
    ),
    "readfirst_scores_waiting": Metric("gauge", (), "patients whose score waits for the model, or for a film that came late"),
    "readfirst_score_age_seconds": Metric("gauge", (), "age of the oldest model score among the 100 most urgent open studies"),
    "readfirst_drift_rows": Metric(
        "gauge", ("model", "input"), "answers of today (UTC) by the served version that are counted against what it was made on"
    ),
    "readfirst_drift_psi": Metric(
        "gauge",
        ("model", "input"),
        "population stability index of an input or a score of today; above 0.25 another population; from 200 rows",
    ),
    "readfirst_drift_missing_ratio": Metric("gauge", ("model", "input"), "share of today's answers without this input"),
    "readfirst_event_to_rank_seconds": Metric("histogram", (), "gateway's receipt of an event to the committed rank it caused", LATENCY),
    "readfirst_truth_to_rank_seconds": Metric("histogram", (), "when it was true (specimen, acquisition) to the committed rank", LONG),
    "readfirst_escalations": Metric("gauge", ("state",), "escalations that are not over, by state"),
    "readfirst_escalation_steps_total": Metric("counter", (), "escalation steps taken"),
    "readfirst_escalation_steps_late_total": Metric("counter", (), "escalation steps found undone after the policy's limit"),
    "readfirst_escalation_overdue_seconds": Metric("gauge", (), "how long the oldest due escalation step has been waiting to be taken"),
    "readfirst_worklist_open": Metric("gauge", ("patient_class", "priority"), "open studies"),
    "readfirst_worklist_overdue": Metric("gauge", ("patient_class", "priority"), "open studies past their deadline"),
    "readfirst_worklist_oldest_seconds": Metric("gauge", (), "how long the oldest unread study has been waiting"),
    "readfirst_worklist_degraded_ratio": Metric("gauge", (), "share of the open studies ranked without the model"),
    "readfirst_worklist_provisional_ratio": Metric("gauge", (), "share of the open studies whose images are still arriving"),
    "readfirst_worklist_unmatched": Metric("gauge", (), "open studies without an order or a known patient"),
    "readfirst_worklist_moves_per_study": Metric("gauge", (), "changes of deadline a study in the last hour, of studies that had any news"),
    "readfirst_worklist_top_moves": Metric("gauge", (), "changes of deadline in the last hour that touched the first 20 of the list"),
    "readfirst_worklist_churn_ratio": Metric("gauge", (), "the larger of both over the site's budget: above 1 the list is too restless"),
    "readfirst_odd_values_total": Metric("counter", ("reason",), "values that ranking meets by rule: bad scores, past deadlines, twins"),
    "readfirst_reviews_total": Metric("counter", ("outcome",), "items looked at again as time passed or the rules changed, moved or not"),
    "readfirst_site_file_refused": Metric("gauge", (), "1 while the newest site file is refused and older rules stay in force"),
    "readfirst_stream_clients": Metric("gauge", (), "pages that follow the list live"),
    "readfirst_source_silence_seconds": Metric("gauge", ("source",), "time since the source's last message"),
    "readfirst_source_missed_messages": Metric(
        "gauge", ("source",), "messages that the source, by its learned rhythm at this hour, would have sent meanwhile"
    ),
    "readfirst_source_silent": Metric("gauge", ("source",), "1 while a source is silent beyond its rhythm"),
    "readfirst_dead_letters": Metric("gauge", (), "dead letters that nobody has re-driven or purged yet"),
    "readfirst_dead_letters_limit": Metric("gauge", (), "so many stop the intake"),
    "readfirst_database_seconds": Metric("histogram", (), "time a database connection was held", SHORT),
    "readfirst_database_connections": Metric("gauge", ("state",), "connections of this process's pool"),
    "readfirst_database_waiting": Metric("gauge", (), "requests that wait for a connection of this process's pool"),
}


def table() -> str:
    """The catalogue as a Markdown page."""
    rows = [
        f"| `{name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.meaning} |"
        for name, metric in CATALOGUE.items()
    ]
    head = (
        "# Metrics\n\n"
        "Generated from `pipeline/adapters/telemetry/catalogue.py`; each role serves its own at `/metrics` (OpenMetrics).\n"
        "No label ever holds patient data; the number of values of each label is bounded.\n\n"
        "| name | kind | labels | meaning |\n|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
