"""Writes the dashboards: python infra/grafana/dashboards.py. They are committed; a test fails when they are not up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

HERE = Path(__file__).parent / "dashboards"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="readfirst-prometheus")
Query = tuple[str, str]
"""PromQL and the legend."""
Unit = Literal["s", "short", "percentunit", "reqps", "bytes"]


def graph(title: str, meaning: str, unit: Unit, *queries: Query) -> Timeseries:
    """A panel of half the width."""
    panel = Timeseries().title(title).description(meaning).unit(unit).datasource(PROMETHEUS).span(12).height(8)
    for number, (expression, legend) in enumerate(queries):
        panel = panel.with_target(Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number)))
    return panel


def figure(title: str, meaning: str, unit: Unit, expression: str) -> Stat:
    """A single number."""
    target = Dataquery().expr(expression).ref_id("A")
    return Stat().title(title).description(meaning).unit(unit).datasource(PROMETHEUS).span(6).height(4).with_target(target)


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Of the last five minutes."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[5m])))"


Panels = Sequence[Timeseries | Stat]


def behind() -> Timeseries:
    """On two boards; a panel belongs to one."""
    return graph("Behind", "age of the next record that waits", "s", ("max by (stage) (readfirst_lag_seconds)", "{{stage}}"))


def rank() -> Timeseries:
    """The first promise."""
    quantiles = ((quantile(share, "readfirst_event_to_rank_seconds"), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99))
    return graph("Event to rank", "gateway's receipt to committed rank; the promise is 1 s for 99 %", "s", *quantiles)


BOARDS: dict[str, tuple[str, dict[str, Panels]]] = {
    "overview": (
        "Readfirst: overview",
        {
            "Now": [
                figure("Behind", "the worst stage", "s", "max(readfirst_lag_seconds)"),
                figure("Studies behind", "open studies whose data is old", "short", "max(readfirst_studies_behind)"),
                figure("Overdue", "past their deadline", "short", "sum(readfirst_worklist_overdue)"),
                figure("Dead letters", "not settled", "short", "max(readfirst_dead_letters)"),
            ],
            "The way of an event": [behind(), rank()],
            "In and out": [
                graph(
                    "Messages",
                    "by outcome",
                    "reqps",
                    ("sum by (gateway, outcome) (rate(readfirst_messages_total[5m]))", "{{gateway}} {{outcome}}"),
                ),
                graph(
                    "Records",
                    "by outcome",
                    "reqps",
                    ("sum by (stage, outcome) (rate(readfirst_records_total[5m]))", "{{stage}} {{outcome}}"),
                ),
            ],
        },
    ),
    "lag": (
        "Readfirst: streaming lag",
        {
            "Lag": [
                behind(),
                graph("Records", "not yet applied", "short", ("sum by (stage, topic) (readfirst_lag_records)", "{{stage}} {{topic}}")),
                graph(
                    "Standing still",
                    "partitions whose records wait and that do not move",
                    "s",
                    ("max by (stage, topic, partition) (readfirst_standstill_seconds) > 5", "{{stage}} {{topic}}-{{partition}}"),
                ),
                graph("Studies behind", "whom it affects", "short", ("max by (stage) (readfirst_studies_behind)", "{{stage}}")),
                graph("Stores", "0: does not answer", "short", ("min by (store) (readfirst_store_up)", "{{store}}")),
                graph(
                    "Last look",
                    "since anything was measured",
                    "s",
                    ("time() - max(readfirst_looked_timestamp_seconds)", "age"),
                ),
            ],
            "Work": [
                graph("Batch", "time to handle one", "s", (quantile(0.95, "readfirst_batch_seconds", "stage"), "{{stage}} p95")),
                graph("Batch size", "records", "short", (quantile(0.5, "readfirst_batch_records", "stage"), "{{stage}} median")),
                graph(
                    "Database", "time a connection was held", "s", (quantile(0.95, "readfirst_database_seconds", "role"), "{{role}} p95")
                ),
                graph(
                    "Pools",
                    "connections in use, and who waits for one",
                    "short",
                    ('sum by (role) (readfirst_database_connections{state="used"})', "{{role}} used"),
                    ("sum by (role) (readfirst_database_waiting)", "{{role}} waiting"),
                ),
                graph(
                    "Windows",
                    "in the context workers' memory",
                    "short",
                    ("sum(readfirst_windows)", "held"),
                    ("sum(readfirst_windows_limit)", "limit"),
                ),
                graph(
                    "Window",
                    "size of a patient's, packed; asked for: 8 KiB at most",
                    "bytes",
                    (quantile(0.5, "readfirst_window_bytes"), "median"),
                    (quantile(0.99, "readfirst_window_bytes"), "p99"),
                ),
            ],
        },
    ),
    "scoring": (
        "Readfirst: scoring",
        {
            "The model": [
                graph(
                    "Answer",
                    "time of one request",
                    "s",
                    (quantile(0.95, "readfirst_scorer_seconds", "scorer, outcome"), "{{scorer}} {{outcome}} p95"),
                ),
                graph(
                    "Requests",
                    "by scorer and outcome",
                    "reqps",
                    ("sum by (scorer, outcome) (rate(readfirst_scorer_seconds_count[5m]))", "{{scorer}} {{outcome}}"),
                ),
                graph(
                    "Given up",
                    "1: this choice is not asked",
                    "short",
                    ("max by (stage, choice) (readfirst_breaker_open)", "{{stage}} choice {{choice}}"),
                ),
                graph(
                    "Backlog",
                    "requests in hand, by Triton's priority, 1 first",
                    "short",
                    ("sum by (priority) (readfirst_scoring_backlog)", "priority {{priority}}"),
                ),
                graph(
                    "Drift",
                    "population stability index of today, the ten largest; above 0.25 another population",
                    "short",
                    ("topk(10, max by (model, input) (readfirst_drift_psi))", "{{model}} {{input}}"),
                ),
                graph("To be scored again", "patients", "short", ("sum(readfirst_scores_waiting)", "waiting")),
            ],
            "The list": [
                graph(
                    "Shares",
                    "of the open studies",
                    "percentunit",
                    ("max(readfirst_worklist_degraded_ratio)", "without the model"),
                    ("max(readfirst_worklist_provisional_ratio)", "still arriving"),
                ),
                graph("Oldest score", "among the 100 most urgent", "s", ("max(readfirst_score_age_seconds)", "age")),
            ],
        },
    ),
    "list": (
        "Readfirst: list and escalations",
        {
            "The list": [
                graph(
                    "Open",
                    "by patient class and priority",
                    "short",
                    ("sum by (patient_class, priority) (readfirst_worklist_open)", "{{patient_class}} {{priority}}"),
                ),
                graph(
                    "Overdue",
                    "past their deadline",
                    "short",
                    ("sum by (patient_class, priority) (readfirst_worklist_overdue)", "{{patient_class}} {{priority}}"),
                ),
                graph("Oldest unread", "waiting", "s", ("max(readfirst_worklist_oldest_seconds)", "oldest")),
                graph("Pages", "that follow the list live", "short", ("sum(readfirst_stream_clients)", "pages")),
                graph("Unmatched", "without order or patient", "short", ("max(readfirst_worklist_unmatched)", "studies")),
                graph("Restlessness", "of the site's budget", "percentunit", ("max(readfirst_worklist_churn_ratio)", "last hour")),
                graph("Odd values", "met by rule", "reqps", ("sum by (reason) (rate(readfirst_odd_values_total[5m]))", "{{reason}}")),
                graph("Site file", "1: the newest is refused, older rules rank", "short", ("max(readfirst_site_file_refused)", "refused")),
                rank(),
            ],
            "Escalations": [
                graph("Standing", "by state", "short", ("sum by (state) (readfirst_escalations)", "{{state}}")),
                graph("Due and not taken", "the oldest step", "s", ("max(readfirst_escalation_overdue_seconds)", "overdue")),
                graph(
                    "Steps",
                    "taken, and late",
                    "reqps",
                    ("sum(rate(readfirst_escalation_steps_total[5m]))", "taken"),
                    ("sum(rate(readfirst_escalation_steps_late_total[5m]))", "late"),
                ),
            ],
        },
    ),
    "sources": (
        "Readfirst: sources",
        {
            "Sources": [
                graph("Silence", "since the last message", "s", ("max by (source) (readfirst_source_silence_seconds)", "{{source}}")),
                graph(
                    "Missing",
                    "messages due by the source's rhythm",
                    "short",
                    ("max by (source) (readfirst_source_missed_messages)", "{{source}}"),
                ),
                graph("Beyond its rhythm", "1: silent", "short", ("max by (source) (readfirst_source_silent)", "{{source}}")),
                graph(
                    "Messages",
                    "by gateway and outcome",
                    "reqps",
                    ("sum by (gateway, outcome, reason) (rate(readfirst_messages_total[5m]))", "{{gateway}} {{outcome}} {{reason}}"),
                ),
                graph(
                    "Values that no table maps",
                    "kept as they came, not read",
                    "reqps",
                    ("sum by (gateway, reason) (rate(readfirst_unmapped_values_total[5m]))", "{{gateway}} {{reason}}"),
                ),
                graph(
                    "Connections",
                    "what the HL7 port meets",
                    "reqps",
                    ("sum by (gateway, reason) (rate(readfirst_connections_total[5m]))", "{{gateway}} {{reason}}"),
                ),
                graph(
                    "Dead letters",
                    "not settled, and the limit",
                    "short",
                    ("max(readfirst_dead_letters)", "waiting"),
                    ("max(readfirst_dead_letters_limit)", "limit"),
                ),
                graph("Intake", "1: stopped", "short", ("max by (gateway) (readfirst_intake_stopped)", "{{gateway}}")),
                graph(
                    "From truth to rank",
                    "specimen or acquisition to the list",
                    "s",
                    (quantile(0.5, "readfirst_truth_to_rank_seconds"), "median"),
                ),
                graph("Clock", "web machine less database server", "s", ("max(readfirst_clock_offset_seconds)", "offset")),
            ],
        },
    ),
}


def rendered(name: str) -> str:
    """The dashboard's JSON."""
    title, rows = BOARDS[name]
    board = Dashboard(title).uid(f"readfirst-{name}").tags(["readfirst"]).refresh("10s").time("now-1h", "now").timezone("browser")
    for row, panels in rows.items():
        board = board.with_row(Row(row))
        for panel in panels:
            board = board.with_panel(panel)
    document = json.loads(JSONEncoder().encode(board.build()))
    for number, panel in enumerate(document["panels"], 1):
        panel["id"] = number
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in BOARDS:
        (HERE / f"{name}.json").write_text(rendered(name))
