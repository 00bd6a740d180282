"""Readfirst beside EDF 20/45/480, and how good its evidence must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.adapters.site.file import load
from pipeline.cli import build
from pipeline.domain.site import DEFAULT
from pipeline.simulation.department import sensitivity
from pipeline.simulation.department.golden import Sample
from pipeline.simulation.department.intervals import Estimate
from pipeline.simulation.department.sensitivity import CAUTIOUS, Comparison, Room

SITE = """
schema: site/1
version: cautious/1
findings: {by_finding: {}, other: 0.1, pull: {none_below: 0.05, full_from: 0.9, floor_minutes: 15}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site file that the README gives."""
    file = tmp_path / "cautious.yaml"
    file.write_text(SITE)
    return file


@pytest.fixture(scope="module")
def room() -> Room:
    return Room(30_000)


def compared(longest: float = -10, **moved: float) -> Comparison:
    """Less EDF's, and the longest less the strict hierarchy's, each within 1 minute."""
    all_moved = {"LVO": 0.0, "ICH": 0.0, "SAH": 0.0, "none": 5.0, **moved}
    return Comparison(
        assumption="",
        site="",
        mean={},
        moved={name: Estimate(value, 1.0) for name, value in all_moved.items()},
        longest=Estimate(1000),
        longest_moved=Estimate(longest, 1.0),
        demands=("as_good", "better_for_sah"),
    )


@pytest.mark.parametrize(
    ("found", "as_good", "better"),
    [
        (compared(LVO=0.9, ICH=-3, SAH=-1.1), True, True),
        (compared(LVO=1.1, SAH=-1.1), False, True),
        (compared(ICH=1.1), False, False),
        (compared(longest=1.1, SAH=-2), False, True),
        (compared(SAH=-0.9), True, False),
    ],
)
def test_what_must_hold(found: Comparison, as_good: bool, better: bool):
    """No worse means: not beyond chance; better means: beyond chance."""
    assert (found.as_good, found.better_for_sah, found.holds) == (as_good, better, as_good and better)


def test_the_rules_that_ship_meet_all_that_is_asked(room: Room):
    """Without context and with it; under rules that believe an AI only where it is nearly always right, LVO pays for SAH."""
    alone, context = sensitivity.demanded(room, DEFAULT)
    assert (alone.holds, context.holds) == (True, True)
    cautious = room.compare("", room.context, CAUTIOUS)
    assert cautious.better_for_sah
    assert cautious.moved["LVO"].value > context.moved["LVO"].value + 3


def test_false_flags_burden_ours_less_than_fixed_deadlines(room: Room):
    """Twice as many of them, which both follow: the rivals see them too; what has no disease pays half a minute more for being trusted."""
    twice = {2: Room(30_000, false_flags=2)}
    assert twice[2]._edf["ICH"].mean() > room._edf["ICH"].mean() + 3
    [bold], [cautious] = (list(sensitivity.false_flags(twice, site)) for site in (DEFAULT, CAUTIOUS))
    assert bold.moved["ICH"].value < 0 and bold.moved["LVO"].value < cautious.moved["LVO"].value
    assert bold.mean["none"].value < cautious.mean["none"].value + 1


def test_a_site_is_as_cautious_by_its_file(site: Path):
    """What CAUTIOUS is to the simulator, these lines are to the product."""
    policy = load(site).policy
    assert replace(policy, version=CAUTIOUS.version) == CAUTIOUS


def test_rivals_do_not_depend_on_what_varies(room: Room):
    """Orders and signs have streams of their own: EDF and the hierarchy, simulated once, are every variation's rivals."""
    other = Sample(room.context, 30_000, 1, sensitivity.BATCHES)
    for rival, name in (("EDF 20/45/480", "LVO"), ("EDF 20/45/480", "SAH")):
        assert other.means(other.rule(rival), name).tolist() == room._edf[name].tolist()


def test_better_evidence_is_better_for_sah(room: Room):
    """More often in SAH: SAH waits less. More often in the others: SAH, and what the AIs flag, wait longer."""
    sign = sensitivity.EVIDENCE["an indication of bleeding (20 min), on head CT"]

    def moved(in_sah: float, in_others: float) -> dict[str, float]:
        given = {"SAH": in_sah, **dict.fromkeys(("ICH", "LVO", "none"), in_others)}
        scenario = sensitivity.replace(room.alone, signs=[sensitivity.replace(sign, given=given)])
        return {name: one.value for name, one in room.compare("", scenario, DEFAULT).moved.items()}

    poor, good, noisy = moved(0.1, 0.05), moved(0.75, 0.05), moved(0.75, 0.4)
    assert good["SAH"] < poor["SAH"] - 20
    assert noisy["SAH"] > good["SAH"]
    assert noisy["LVO"] > good["LVO"] + 5


def test_the_command_tells_all_and_its_exit_code_what_must_hold(monkeypatch: pytest.MonkeyPatch, site: Path):
    """Assumptions, comparisons and the grid in one object; a site is held to the same, and a poor one ends with an error."""
    monkeypatch.setattr(sensitivity, "_variations", lambda room: [("24 h", room.alone)])
    monkeypatch.setattr(sensitivity, "FALSE_FLAGS", (2,))
    monkeypatch.setattr(sensitivity, "IN_SAH", (0.5,))
    monkeypatch.setattr(sensitivity, "IN_OTHERS", (0.05, 0.4))
    asked = ["simulate", "sensitivity", "--exams", "40000", "--json", "--site"]
    site.write_text(SITE.replace("0.9", "0.65"))
    result = CliRunner().invoke(build(("simulate",)), [*asked, str(site)])
    found = json.loads(result.stdout)

    assert result.exit_code == 0 and found["holds"]
    assert {one["site"] for one in found["compared"]} == {load(site).policy.version}
    assert len(found["compared"]) == 2 + 1 + 1
    assert [len(each["cells"]) for each in found["evidence"]] == [2, 2]
    assert found["evidence"][0]["cells"][0]["whole"]
    assert any("calibrated risk" in line for line in found["assumptions"])

    site.write_text(SITE.replace("0.9", "1").replace("0.05", "0.85"))
    result = CliRunner().invoke(build(("simulate",)), [*asked, str(site)])
    assert result.exit_code == 1
    assert not json.loads(result.stdout)["holds"]
