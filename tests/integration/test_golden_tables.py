"""`readfirst simulate golden`: published tables, reproduced at the size that CI can bear."""

from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from pipeline.cli import build
from pipeline.domain.site import DEFAULT, Pull
from pipeline.simulation.department import golden, published

pytestmark = pytest.mark.timeout(600)


def test_all_published_figures_hold():
    """G1, G2, G3 and the policy table, closed forms within 0.5 % and simulations within their intervals; Readfirst as required."""
    result = CliRunner().invoke(build(("simulate",)), ["simulate", "golden", "--json"])
    found = json.loads(result.stdout)

    assert [row["name"] for row in found["figures"] if not row["holds"]] == []
    assert [(one["site"], one["demands"], one["holds"]) for one in found["readfirst"]] == [
        ("default/1", ["as_good"], True),
        ("default/1", ["as_good", "better_for_sah"], True),
    ]
    assert result.exit_code == 0
    assert len(found["figures"]) == 7 + 7 + 5 + 4 * 4 * 3 + 11 * 4 * 3


def test_a_figure_outside_ends_with_an_error(monkeypatch):
    """One published value moved by one per cent is found, named, and told by the exit code."""
    monkeypatch.setitem(published.G1, ("hierarchy", "LVO"), 13.23)
    monkeypatch.setattr(published, "G3", {})
    monkeypatch.setattr("pipeline.simulation.department.golden_policies.policy_table", lambda *_: [])
    monkeypatch.setattr("pipeline.simulation.department.sensitivity.demanded", lambda *_: [])
    result = CliRunner().invoke(build(("simulate",)), ["simulate", "golden", "--exams", "20000", "--json"])
    figures = json.loads(result.stdout)["figures"]

    assert [row["name"] for row in figures if not row["holds"]] == ["hierarchy: LVO"]
    assert result.exit_code == 1


def test_readfirst_short_of_what_is_asked_ends_with_an_error(monkeypatch):
    """Though every published figure is reproduced."""
    for figures in ("G1", "G1_FINISHED", "G2", "G3"):
        monkeypatch.setattr(published, figures, {})
    monkeypatch.setattr("pipeline.simulation.department.golden_policies.policy_table", lambda *_: [])
    slow = dataclasses.replace(DEFAULT, image=Pull(0.85, 1.0, 15))  # no flag of G1 is as sure as that
    monkeypatch.setattr("pipeline.domain.site.DEFAULT", slow)
    result = CliRunner().invoke(build(("simulate",)), ["simulate", "golden", "--exams", "20000", "--json"])
    found = json.loads(result.stdout)

    assert [one["holds"] for one in found["readfirst"]][-1] is False
    assert (found["figures"], found["holds"], result.exit_code) == ([], False, 1)


def test_an_interval_can_fail():
    """The simulation is no rubber stamp: at CI size, G1's intervals are narrower than the gap between two policies."""
    rows = {row.name: row for row in golden._g1("G1", golden.load("g1"), published.G1, 200_000, 1)}
    flag, hierarchy = rows["flag first: LVO"], rows["hierarchy: LVO"]

    assert not flag.simulated.holds(hierarchy.published)
    assert not hierarchy.simulated.holds(flag.published)
