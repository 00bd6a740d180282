"""The site file: good ones say what they say, bad ones where they are wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.adapters.site.document import SiteDocument, of
from pipeline.adapters.site.file import load, parse
from pipeline.adapters.site.published import INFRA, SCHEMA, as_yaml, default_yaml, json_schema
from pipeline.cli import build
from pipeline.domain.escalation_policy import Quiet, Rule
from pipeline.domain.site import DEFAULT, PlaceTargets, Pull
from pipeline.errors import SiteFileRefused

SMALLEST = "schema: site/1\nversion: night\n"


def refused(text: str) -> list[str]:
    with pytest.raises(SiteFileRefused) as error:
        parse(text, "site.yaml")
    return error.value.faults


def test_shipped_file_is_the_defaults() -> None:
    """infra/site.yaml and its schema are what the code generates, and come to the default policy."""
    assert (INFRA / "site.yaml").read_text("utf-8") == default_yaml(), "run python -m pipeline.adapters.site.published"
    assert (INFRA / SCHEMA).read_text("utf-8") == json_schema(), "run python -m pipeline.adapters.site.published"
    assert load(INFRA / "site.yaml").document.policy() == DEFAULT


def test_shipped_file_fits_the_schema() -> None:
    """What an editor checks is what we check."""
    import json

    jsonschema.validate(yaml.safe_load(default_yaml()), json.loads(json_schema()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "site/1", "version": "x", "target": {}}, json.loads(json_schema()))


def test_left_out_sections_are_the_defaults() -> None:
    """A file with nothing but its name ranks as no file at all."""
    found = parse(SMALLEST, "site.yaml")

    assert replace(found.policy, version=DEFAULT.version) == DEFAULT
    assert found.policy.version == f"night+{found.digest[:8]}"


def test_every_decision_reaches_the_policy() -> None:
    """A policy written as a file and read again is the same policy."""
    policy = replace(
        DEFAULT,
        version="own",
        places=(PlaceTargets("ICU*", {"stat": 20, "urgent": 60}),),
        unordered="asap",
        risk=Pull(0.1, 0.8, 20),
        image=Pull(0.2, 0.5, 10),
        finding_shares={"pneumonia": 0.2},
        dead_band=timedelta(seconds=30),
        dwell=timedelta(seconds=10),
        news2_scale=2,
        override_longest=timedelta(hours=1),
        lists=(),
    )

    assert parse(as_yaml(of(policy)), "site.yaml").document.policy() == policy


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("targets:\n  stat: {emergency: -4, inpatient: 60, outpatient: 60}", "site.yaml:4:10: targets.stat.emergency: input should be gre"),
        ("patient_classes:\n  E: emergency\n  Z: emergency", "site.yaml:5:3: patient_classes.Z: input should be 'E', 'I'"),
        ("targets:\n  stat: {emergency: 45}", "site.yaml:4:3: targets.stat.inpatient: is missing"),
        ("places:\n  - match: ICU\n    targets: {soon: 20}", "site.yaml:5:15: places.0.targets.soon: input should be 'stat', 'asap'"),
        ("risk: {none_below: 0.9, full_from: 0.1, floor_minutes: 15}", "site.yaml:3:1: risk: none_below must be less than full_from"),
        ("risk: {none_below: .nan, full_from: 0.1, floor_minutes: 15}", "site.yaml:3:8: risk.none_below: input should be a finite number"),
        ("holds:\n  - {code: a, words: b, minutes: '60'}", "site.yaml:4:25: holds.0.minutes: input should be a valid number, not '60'"),
        ("holds: []", "site.yaml:3:1: holds: list should have at least 1 item"),
        ("findings: {by_finding: {pneumonia: 1.2}, other: 0.1}", "site.yaml:3:25: findings.by_finding.pneumonia: input should be less"),
        ("findings: {by_finding: {}}", "site.yaml:3:1: findings.other: is missing"),
        (
            "findings:\n  by_finding: {}\n  other: 0.1\n  pull: {none_below: 0.6, full_from: 0.6, floor_minutes: 15}",
            "site.yaml:6:3: findings.pull: none_below must be less than full_from",
        ),
        ("target: {}", "site.yaml:3:1: target: is not known here"),
        ("version: twice", 'site.yaml:3:1: found duplicate key "version"'),
        ("lists: [", "site.yaml:4:1: "),
        ("unordered: sometime", "site.yaml:3:1: unordered: input should be 'stat'"),
    ],
)
def test_a_fault_has_its_place(text: str, fault: str) -> None:
    """File, line, column, path and reason."""
    assert any(line.startswith(fault) for line in refused(f"{SMALLEST}{text}\n")), refused(f"{SMALLEST}{text}\n")


@pytest.mark.parametrize(
    ("row", "column", "fault"),
    [
        (
            "observable: potasium, unit: mmol/L, below: 3, above: 6",
            6,
            ".observable: no laboratory observable has the name or LOINC code 'potasium'",
        ),
        ("observable: heart_rate, unit: /min, above: 200", 6, ".observable: no laboratory observable"),
        ("observable: potassium, unit: mg/dL, below: 3, above: 6", 29, ".unit: potassium is in mmol/L here, not in mg/dL"),
        (
            "observable: potassium, unit: mmol/L, below: 3, above: 61",
            53,
            ".above: a potassium is between 0.5 and 15 mmol/L, so 61 is no limit",
        ),
        ("observable: potassium, unit: mmol/L, below: 6, above: 6", 5, ": the low limit 6 is not less than the high one 6"),
        ("observable: potassium, unit: mmol/L, above: 6", 5, ": potassium has no below or at_most; a limit is not given up by silence"),
        ("observable: lactate, unit: mmol/L", 5, ": lactate has no above or at_least"),
        ("observable: inr, unit: '{INR}', above: 4, at_least: 5", 5, ": above and at_least are the same side"),
        ("observable: inr, unit: '{INR}', above: 4, from_age: 16, under_age: 2", 5, ": nobody is from 16 on and under 2 years old"),
        ("observable: sodium, unit: mmol/L, below: 110, above: 170", 5, ": sodium: a row before this one is for the same ages"),
    ],
)
def test_a_critical_limit_that_could_mislead_is_refused_at_its_line(row: str, column: int, fault: str) -> None:
    """Unknown observable, another unit, an impossible or forgotten limit, a row that would never be asked."""
    before = "critical_labs:\n  - {observable: 2951-2, unit: mmol/L, below: 125, above: 150}\n"
    faults = refused(f"{SMALLEST}{before}  - {{{row}}}\n")

    assert len(faults) == 1 and faults[0].startswith(f"site.yaml:5:{column}: critical_labs.1{fault}"), faults


def test_a_sites_critical_limits_stand_before_the_shipped_ones() -> None:
    """By name or LOINC code; other analytes and ages keep the shipped rows, and the whole table is there to be shown."""
    young = "- {observable: 2823-3, unit: mmol/L, below: 2.5, above: 6.5, from_age: 1, under_age: 16}"
    found = parse(f"{SMALLEST}critical_labs:\n{young}\n- {{observable: inr, unit: '{{INR}}', above: 4.5}}\n", "site.yaml")
    table = found.policy.critical_labs

    assert [(row.from_age, row.under_age, [side.words for side in row.limits]) for row in table["potassium"]] == [
        (1, 16, ["below 2.5", "above 6.5"]),
        (16, None, ["below 3", "above 6.1"]),
    ]
    assert [side.words for row in table["inr"] for side in row.limits] == ["above 4.5"]
    assert {name: rows for name, rows in table.items() if name not in ("potassium", "inr")} == {
        name: rows for name, rows in DEFAULT.critical_labs.items() if name not in ("potassium", "inr")
    }
    assert parse(as_yaml(found.document), "again.yaml").policy.critical_labs == table


_NO_PAGER = ("steps.1.channel", "there is no channel 'pager'")


@pytest.mark.parametrize(
    ("right", "wrong", "path", "reason"),
    [
        ("head: null, operator", "head: radiologist, operator", "roles.senior", "leads back to itself"),
        ("head: null, operator: head", "head: null, operator: nobody", "roles.operator", "there is no role 'nobody'"),
        ("{after_minutes: 15, role: radiologist, channel: page}", "{after_minutes: 15, role: radiologist, channel: pager}", *_NO_PAGER),
        ("{after_minutes: 30, role: above", "{after_minutes: -30, role: above", "steps.2.after_minutes", "is negative"),
        ("{after_minutes: 30, role: above", "{after_minutes: 10, role: above", "steps.2.after_minutes", "is not after the step before"),
        (
            "{after_minutes: 0, role: radiologist",
            "{after_minutes: 0, role: above",
            "steps.0.role",
            "is above nobody: the first step names a role",
        ),
        ("page: {kind: page, timeout_s: 5}", "page: {kind: hl7, timeout_s: 5}", "channels.page.url", "is missing"),
    ],
)
def test_an_escalation_that_could_not_work_is_refused_at_its_line(right: str, wrong: str, path: str, reason: str) -> None:
    """A cycle of roles, a missing channel or role, minutes below zero or out of order: where it stands, and why."""
    shipped = default_yaml()
    assert right in shipped
    text = shipped.replace(right, wrong, 1)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if wrong in each)

    faults = refused(text)
    assert any(each.startswith(f"site.yaml:{line}:") and each.endswith(f"escalation.{path}: {reason}") for each in faults), faults


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("news2_from: 5", {"news2_from": 5}),
        ("quiet_hours: {start: '22:00', until: '06:00'}", {"quiet": Quiet(time(22), time(6))}),
        ("rules: {deadline: {category: 3}}", {"rules": {**DEFAULT.escalation.rules, "deadline": Rule(3)}}),
        ("feed_down_minutes: {labs: 30}", {"feed_down": {"labs": 30}}),
    ],
)
def test_an_escalation_that_says_one_part_leaves_the_others(part: str, changed: dict[str, Any]) -> None:
    """One limit is changed in one line; a trigger without a rule of its own is told as by default, so that none is silenced by silence."""
    found = parse(f"{SMALLEST}escalation:\n  {part}\n", "site.yaml").policy.escalation

    assert found == replace(DEFAULT.escalation, **changed)


def test_an_escalation_whose_parts_do_not_fit_the_defaults_is_refused() -> None:
    """Roles of its own and nobody's steps: the default steps tell a role that is not there."""
    faults = refused(f"{SMALLEST}escalation:\n  roles: {{resident: null}}\n")

    assert "site.yaml:3:1: escalation.steps.0.role: there is no role 'radiologist'" in faults


def test_a_file_from_before_image_models_had_a_pull_of_their_own_stays_in_force() -> None:
    """They then pull as by default; the clinical model as the file says."""
    found = parse(
        f"{SMALLEST}risk: {{none_below: 0.7, full_from: 0.8, floor_minutes: 15}}\nfindings: {{by_finding: {{}}, other: 0.2}}\n", "f"
    ).policy

    assert (found.risk, found.image, found.finding_share) == (Pull(0.7, 0.8, 15), DEFAULT.image, 0.2)


def test_all_faults_at_once() -> None:
    """Nobody mends a file one fault at a time."""
    assert len(refused("schema: site/1\nunordered: x\nlists: 4\n")) == 3


def test_priorities_in_order() -> None:
    """A table in which urgent has less time than stat is a slip of the pen."""
    table = of(DEFAULT).model_dump(by_alias=True)
    table["targets"]["urgent"]["inpatient"] = 30.0

    with pytest.raises(ValueError, match="inpatient: a higher priority has more time than a lower one"):
        SiteDocument.model_validate(table)


def test_a_name_given_twice() -> None:
    """Two holds of one code could not be told apart."""
    again = "holds:\n  - {code: a, words: b, minutes: 5}\n  - {code: a, words: c, minutes: 5}\n"

    assert refused(SMALLEST + again) == ["site.yaml:1:1: holds: a is there twice"]


@pytest.mark.parametrize("text", ["", "- 1", "a\n", "\t: x"])
def test_no_document(text: str) -> None:
    """What is not a mapping is refused like any other fault."""
    assert refused(text)[0].startswith("site.yaml:1:")


def test_files_that_cannot_be_read(tmp_path) -> None:
    """Not there, a folder, not UTF-8, too long: each is said."""
    binary, long = tmp_path / "b", tmp_path / "l"
    binary.write_bytes(b"a: \xff")
    long.write_bytes(b"#" * (2 << 20))

    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (binary, "is not UTF-8"), (long, "at most")):
        with pytest.raises(SiteFileRefused, match=words):
            load(path)


def test_place_before_the_table() -> None:
    """The first pattern that covers the location and names the priority counts; case does not matter."""
    policy = parse(
        f"{SMALLEST}places:\n  - {{match: 'icu*', targets: {{stat: 20}}}}\n  - {{match: '*', targets: {{stat: 30, urgent: 90}}}}\n", "f"
    ).policy

    assert [policy.place_minutes("stat", where) for where in ("ICU^3", "4W", None)] == [20, 30, None]
    assert policy.place_minutes("urgent", "ICU^3") == 90
    assert policy.place_minutes("routine", "ICU^3") is None


def test_check_and_show(tmp_path) -> None:
    """`site check` tells faults and exits 1; what `site show` prints is accepted by it."""
    runner, app = CliRunner(), build(("site", "roles"))
    shown = runner.invoke(app, ["site", "show"])
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(shown.stdout)
    bad.write_text("schema: site/1\n")

    assert runner.invoke(app, ["site", "check", str(good)]).exit_code == 0
    refusal = runner.invoke(app, ["site", "check", str(bad), "--json"])
    assert refusal.exit_code == 1
    assert "version: is missing" in refusal.stdout
