"""`readfirst simulate golden`: published tables, reproduced at the size that CI can bear."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.cli import build
from pipeline.simulation.department import golden, published
from pipeline.simulation.department.golden_policies import BASE, BOTH, CONTEXT

pytestmark = pytest.mark.timeout(600)


def test_all_published_figures_hold():
    """G1, G2, G3 and the policy table, closed forms within 0.5 % and simulations within their intervals; Readfirst as required."""
    result = CliRunner().invoke(build(("simulate",)), ["simulate", "golden", "--json"])
    found = json.loads(result.stdout)

    assert [row["name"] for row in found["figures"] if not row["holds"]] == []
    assert {one["assumption"]: one["required"] for one in found["readfirst"] if one["required"] is not None} == dict.fromkeys(
        (BASE, CONTEXT, BOTH), True
    )
    assert result.exit_code == 0
    assert len(found["figures"]) == 7 + 7 + 5 + 4 * 4 * 3 + 11 * 4 * 3


def test_a_figure_outside_ends_with_an_error(monkeypatch):
    """One published value moved by one per cent is found, named, and told by the exit code."""
    monkeypatch.setitem(published.G1, ("hierarchy", "LVO"), 13.23)
    monkeypatch.setattr(published, "G3", {})
    monkeypatch.setattr("pipeline.simulation.department.golden_policies.policy_table", lambda *_: [])
    monkeypatch.setattr("pipeline.simulation.department.golden_policies.comparisons", lambda *_: [])
    result = CliRunner().invoke(build(("simulate",)), ["simulate", "golden", "--exams", "20000", "--json"])
    figures = json.loads(result.stdout)["figures"]

    assert [row["name"] for row in figures if not row["holds"]] == ["hierarchy: LVO"]
    assert result.exit_code == 1


def test_an_interval_can_fail():
    """The simulation is no rubber stamp: at CI size, G1's intervals are narrower than the gap between two policies."""
    rows = {row.name: row for row in golden._g1("G1", golden.load("g1"), published.G1, 200_000, 1)}
    flag, hierarchy = rows["flag first: LVO"], rows["hierarchy: LVO"]

    assert not flag.simulated.holds(hierarchy.published)
    assert not hierarchy.simulated.holds(flag.published)
