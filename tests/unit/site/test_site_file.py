"""The site file: good ones say what they say, bad ones where they are wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.adapters.site.document import SiteDocument, of
from pipeline.adapters.site.file import load, parse
from pipeline.adapters.site.published import INFRA, SCHEMA, as_yaml, default_yaml, json_schema
from pipeline.cli import build
from pipeline.domain.site import DEFAULT, PlaceTargets
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
        risk_from=0.1,
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
        ("target: {}", "site.yaml:3:1: target: is not known here"),
        ("version: twice", 'site.yaml:3:1: found duplicate key "version"'),
        ("lists: [", "site.yaml:4:1: "),
        ("unordered: sometime", "site.yaml:3:1: unordered: input should be 'stat'"),
    ],
)
def test_a_fault_has_its_place(text: str, fault: str) -> None:
    """File, line, column, path and reason."""
    assert any(line.startswith(fault) for line in refused(f"{SMALLEST}{text}\n")), refused(f"{SMALLEST}{text}\n")


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
