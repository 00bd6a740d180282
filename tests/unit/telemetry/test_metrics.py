"""The catalogue and what is served of it: names, bounds, nobody's data."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.openmetrics.exposition import generate_latest

from pipeline.adapters.telemetry.catalogue import CATALOGUE, VALUES_MAX, VALUES_MAX_ELSE, Label, Name, table
from pipeline.adapters.telemetry.metrics import Metrics, Sample
from pipeline.domain.stages import STAGES

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"


def served(metrics: Metrics) -> list[str]:
    """The lines that a scrape gets."""
    return generate_latest(metrics.registry).decode().splitlines()


def test_every_name_is_in_the_catalogue_and_no_other() -> None:
    """The type and the table name the same metrics."""
    assert set(get_args(Name)) == set(CATALOGUE)


def test_the_code_exports_every_metric_of_the_catalogue() -> None:
    """Each name is used somewhere besides its declaration: what nobody fills must not stand on a panel or in a rule."""
    code = [path for folder in ("pipeline", "agents") for path in (ROOT / folder).rglob("*.py") if path.name != "catalogue.py"]
    said = {node.value for path in code for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}

    assert set(CATALOGUE) - said == set()


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_every_stage_tells_what_became_of_its_records(stage: str) -> None:
    """Its agent hands its figures to the endpoint, and they are those of this stage."""
    assert f"exports.{stage}(" in (ROOT / "agents" / f"{stage}.py").read_text()
    exported = (ROOT / "pipeline" / "adapters" / "telemetry" / "exports.py").read_text()
    assert f'_records("{stage}", ' in exported


@pytest.mark.parametrize("name", CATALOGUE)
def test_names_follow_one_scheme(name: Name) -> None:
    """Prefix, snake case; `_total` for counters and only for them; buckets for histograms and only for them."""
    metric = CATALOGUE[name]

    assert re.fullmatch(r"readfirst(_[a-z]+)+", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert not name.endswith(("_ms", "_milliseconds", "_minutes"))
    assert set(metric.labels) <= set(get_args(Label))


def test_the_published_table_is_up_to_date() -> None:
    """`python -m pipeline.adapters.telemetry.catalogue > infra/METRICS.md` has been run."""
    assert (INFRA / "METRICS.md").read_text() == table()


def test_a_label_never_has_more_values_than_its_bound() -> None:
    """A thousand senders are 64 and "other", and nothing of their sum is lost."""
    metrics = Metrics()
    metrics.source(lambda: [Sample("readfirst_source_silent", 1, {"source": f"sender-{letters(n)}"}) for n in range(1_000)])
    lines = [line for line in served(metrics) if line.startswith("readfirst_source_silent{")]

    assert len(lines) == VALUES_MAX["source"] + 1
    assert f'readfirst_source_silent{{source="other"}} {1_000.0 - VALUES_MAX["source"]}' in lines


def test_histogram_labels_are_bounded_too() -> None:
    """The same bound where values are observed."""
    metrics = Metrics()
    for n in range(100):
        metrics.observe("readfirst_batch_seconds", 0.1, {"stage": f"stage-{letters(n)}"})
    counts = [line for line in served(metrics) if line.startswith("readfirst_batch_seconds_count{")]

    assert len(counts) == VALUES_MAX_ELSE + 1


@pytest.mark.parametrize("told", ["4711815", "RIS123456|MAIN", "Müller^Anna", "x" * 65, "1.2.840.10008.5.1.4.1.1.2.1234567"])
def test_no_number_of_a_person_gets_into_a_label(told: str) -> None:
    """A sender may call itself anything; what could be a record number, a name or a UID is not repeated."""
    metrics = Metrics()
    metrics.source(lambda: [Sample("readfirst_source_silent", 1, {"source": told})])

    assert told not in "\n".join(served(metrics))


def test_a_source_that_fails_does_not_take_the_others_with_it() -> None:
    """A scrape is answered."""
    metrics = Metrics()
    metrics.source(lambda: [Sample("readfirst_windows", 1 // int("0"))])
    metrics.source(lambda: [Sample("readfirst_stream_clients", 3)])

    assert "readfirst_stream_clients 3.0" in served(metrics)


def test_switched_off_nothing_is_observed() -> None:
    """The bench compares with this."""
    metrics = Metrics()
    metrics.enabled = False
    metrics.observe("readfirst_database_seconds", 0.1)

    assert "readfirst_database_seconds_count 0.0" in served(metrics)


def letters(number: int) -> str:
    """A word for a number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))
