"""Alert rules, runbooks and dashboards agree with each other and with the metrics that the code exports."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.adapters.local.table import ROLES
from pipeline.adapters.telemetry.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"
PROMETHEUS = INFRA / "prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARDS = sorted((INFRA / "grafana" / "dashboards").glob("*.json"))
PARTS = ["What you see", "What it means for patients", "What to do", "How to know it is over"]


def metrics_of(expression: str) -> set[str]:
    """The metrics that a PromQL expression names, histograms by their base name."""
    names = set(re.findall(r"\breadfirst[a-z_0-9:]*", re.sub(r'"[^"]*"', "", expression)))
    return {re.sub(r"_(bucket|sum|count)$", "", name) if name not in CATALOGUE else name for name in names} - RECORDED


def labels_of(expression: str) -> set[str]:
    """The labels by which a PromQL expression groups or selects."""
    grouped = [name for names in re.findall(r"\bby \(([^)]*)\)", expression) for name in names.split(", ")]
    return {*grouped, *re.findall(r"(\w+)\s*[=!]~?\s*\"", expression)}


def unknown_labels(expression: str) -> set[str]:
    """Those that none of its metrics has, and that Prometheus does not add: a query with one is empty for ever, and no rule of it fires."""
    known = {label for name in metrics_of(expression) for label in CATALOGUE[name].labels}  # type: ignore[index]
    return labels_of(expression) - known - {"le", "role", "job", "instance"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_that_exist(rule: dict[str, Any]) -> None:
    """In the catalogue, and a histogram only by its series."""
    named = metrics_of(rule["expr"])

    assert named <= set(CATALOGUE)
    assert unknown_labels(rule["expr"]) == set()
    assert named or "up{" in rule["expr"] or any(record in rule["expr"] for record in RECORDED)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_alert_has_severity_consequence_and_a_runbook_in_four_parts(name: str) -> None:
    """What you see, what it means for patients, what to do, how to know it is over; and the runbook names the alert."""
    rule = ALERTS[name]
    page = (ROOT / rule["annotations"]["runbook"]).read_text()

    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["consequence"]
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == PARTS
    assert name in page


def test_there_is_no_runbook_without_an_alert() -> None:
    """And none that the page names is missing: `Condition.remedy` is a runbook's name."""
    books = {path.stem for path in (INFRA / "runbooks").glob("*.md")}
    told = ast.parse((ROOT / "pipeline" / "services" / "conditions.py").read_text())
    words = {node.value for node in ast.walk(told) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    remedies = {"store-away", "stage-behind", "partition-standing-still", "intake-stopped", "dead-letters", "model-away", "source-silent"}
    remedies |= {"site-file-refused", "escalation-late", "clock-offset"}

    assert books == {Path(rule["annotations"]["runbook"]).stem for rule in ALERTS.values()}
    assert remedies <= words & books


def test_each_alert_fires_in_a_test() -> None:
    """`tests.yaml` has a case for each in which it fires, and one in which it does not yet."""
    tests = [test for path in PROMETHEUS.glob("tests*.yaml") for test in yaml.safe_load(path.read_text())["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]

    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} >= set(ALERTS) - {"ReadfirstRankPromiseBurnsSlowly"}


@pytest.mark.parametrize(
    "command",
    [["check", "config", "prometheus.yml"], ["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml", "tests-promises.yaml"]],
)
def test_promtool_is_content(command: list[str]) -> None:
    """Skips where promtool is absent; where CI=true that is a failure."""
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing: apt-get install prometheus")
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    result = subprocess.run([promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_inhibition_names_alerts_that_exist() -> None:
    """A renamed alert would silence nothing."""
    rules = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())["inhibit_rules"]
    matchers = [matcher for rule in rules for side in ("source_matchers", "target_matchers") for matcher in rule[side]]

    assert {name for matcher in matchers for name in re.findall(r"Readfirst\w+", matcher)} <= set(ALERTS)


def test_every_role_is_a_target() -> None:
    """Of the compose file's Prometheus."""
    targets = json.loads((PROMETHEUS / "targets" / "compose.json").read_text())

    assert {target["labels"]["role"] for target in targets} >= set(ROLES)


def test_the_dashboards_are_up_to_date() -> None:
    """`python infra/grafana/dashboards.py` has been run: overview, lag, scoring, list, sources."""
    made = runpy.run_path(str(INFRA / "grafana" / "dashboards.py"))

    assert [path.stem for path in DASHBOARDS] == sorted(made["BOARDS"]) == ["lag", "list", "overview", "scoring", "sources"]
    assert all(path.read_text() == made["rendered"](path.stem) for path in DASHBOARDS)


def test_monitoring_beside_the_product_reads_what_is_here() -> None:
    """The overlay mounts folders that exist, and is published on loopback only."""
    services = yaml.safe_load((INFRA / "compose.monitoring.yaml").read_text())["services"]
    mounts = [volume.split(":")[0] for service in services.values() for volume in service["volumes"]]

    assert all((INFRA / mount).exists() for mount in mounts if mount.startswith("./"))
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))


def test_what_an_alert_asks_about_stands_on_a_dashboard() -> None:
    """Whoever is paged looks there next."""
    shown = "".join(path.read_text() for path in DASHBOARDS)

    assert {name for rule in RULES for name in metrics_of(rule["expr"]) if name not in shown} == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_names_metrics_that_exist(path: Path) -> None:
    """In each query of each panel, and there is at least one."""
    expressions = [json.loads(found) for found in re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', path.read_text())]
    named = {name for expression in expressions for name in metrics_of(expression)}

    assert named
    assert named <= set(CATALOGUE)
    assert {expression: unknown_labels(expression) for expression in expressions if unknown_labels(expression)} == {}
