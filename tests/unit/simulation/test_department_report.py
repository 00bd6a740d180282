"""Intervals, the report, its plot and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import build
from pipeline.domain.site import DEFAULT
from pipeline.errors import NotFound, SiteFileRefused, StackError
from pipeline.simulation.department import golden, published, starvation
from pipeline.simulation.department.intervals import batch_means, controlled, of_batches, student
from pipeline.simulation.department.plot import svg
from pipeline.simulation.department.report import simulate
from pipeline.simulation.department.running import run
from pipeline.simulation.department.scenario import Rule
from pipeline.simulation.department.streams import draw
from tests.unit.simulation.departments import department


@pytest.mark.parametrize(("confidence", "degrees", "table"), [(0.95, 11, 2.201), (0.95, 19, 2.093), (0.999, 10, 4.587), (0.999, 38, 3.566)])
def test_student(confidence, degrees, table):
    """The printed tables' quantiles."""
    assert student(confidence, degrees) == pytest.approx(table, rel=0.002)


def test_an_interval_covers_as_often_as_it_says():
    """Of 2000 intervals of 95 % around means of twenty normal values, some 95 % hold the true mean."""
    values = np.random.default_rng(1).normal(3, 2, (2000, 20))
    hits = [of_batches(row).holds(3) for row in values]

    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def test_a_control_variate_takes_chance_away():
    """What follows another quantity of known mean is estimated with a tenth of the interval, and without bias."""
    dice = np.random.default_rng(2)
    control = dice.normal(100, 10, 40)
    values = 5 + 2 * (control - 100) + dice.normal(0, 1, 40)
    plain, better = of_batches(values), controlled(values, control, 100)

    assert better.holds(5)
    assert better.plus_minus < plain.plus_minus / 10


def test_batches_are_cut_in_order():
    """Each batch's mean is over its own studies; one without such a study is not a number."""
    means = batch_means(np.array([1.0, 3, 10, 20]), np.array([True, True, False, False]), 2)

    assert means[0] == 2
    assert np.isnan(means[1])


def test_the_report_adds_up():
    """Classes partition the studies; first come, first served saves nothing; JSON holds it all."""
    report = simulate(department(), exams=4000, seed=3)
    fifo, ours = report.policies

    assert sum(waits.studies for waits in ours.by_disease.values()) == sum(waits.studies for waits in ours.by_ai.values()) == 4000
    assert fifo.saved_per_true_positive.value == 0
    assert ours.saved_per_true_positive.value > 5
    assert ours.added_per_non_diseased.value > 0
    assert ours.by_disease["bleed"].mean.value < fifo.by_disease["bleed"].mean.value
    assert ours.bound.broken == 0
    assert fifo.open_studies.mean == pytest.approx(fifo.waits.turnaround * department().per_minute(), rel=0.1)  # Little's law
    assert json.loads(msgspec.json.encode(report))["policies"][1]["name"] == "ours"


def test_broken_promises_are_seen():
    """The check of the theorem is no formality: an order by flag alone keeps studies waiting for ones due later."""
    scenario = department()
    studies = draw(scenario, 3000, 1)
    budgets = np.random.default_rng(1).uniform(10, 500, len(studies))
    begun = run(scenario, studies, Rule(name="h", kind="hierarchy")).begun
    bound = starvation.bound(scenario, studies, begun, studies.arrival + budgets)

    assert bound.broken > 100
    assert "broken" in bound.words


def test_the_plot_is_a_document():
    """Well-formed, names each policy and class, and escapes what a file may call them."""
    scenario = department(policies=[{"name": "FIFO & <co>", "kind": "fifo"}, {"name": "ours", "kind": "readfirst"}])
    root = ElementTree.fromstring(svg(simulate(scenario, exams=2000)))
    words = " ".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))

    assert "FIFO & <co>" in words
    assert "bleed: share that waits longer" in words
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 2 * 3


def test_the_command(tmp_path):
    """One JSON object on standard output, the chosen policies only, and the plot where it was asked for."""
    plot = tmp_path / "waits.svg"
    asked = ["simulate", "g1", "--policy", "Readfirst", "--exams", "2000", "--seed", "5", "--json", "--plot", str(plot)]
    result = CliRunner().invoke(build(("simulate",)), asked)

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [policy["name"] for policy in report["policies"]] == ["Readfirst"]
    assert (report["seed"], report["studies"]) == (5, 2000)
    assert plot.read_text().startswith("<svg")


def test_the_table(tmp_path):
    """A person sees the assumptions, waits by class and the starvation bound."""
    result = CliRunner().invoke(build(("simulate",)), ["simulate", "context", "--exams", "2000"])

    assert result.exit_code == 0
    for words in ("assumed: every study is ordered alike", "wait by true class", "a study is overtaken only by studies due earlier"):
        assert words in result.stdout.replace("\n", " ")


def test_a_sites_own_rules(tmp_path):
    """Readfirst ranks by the file, which the report names; a file with a fault ends in its faults."""
    file = tmp_path / "site.yaml"
    pull = "{none_below: 0.05, full_from: 0.9, floor_minutes: 15}"
    file.write_text(f"schema: site/1\nversion: mine\nfindings: {{by_finding: {{}}, other: 0.1, pull: {pull}}}\n")
    asked = ["simulate", "g1", "--policy", "Readfirst", "--exams", "4000", "--json"]
    usual, mine = (json.loads(CliRunner().invoke(build(("simulate",)), [*asked, *more]).stdout) for more in ([], ["--site", str(file)]))

    assert usual["site"] == DEFAULT.version and mine["site"].startswith("mine+")
    lvo_usual, lvo_mine = (each["policies"][0]["by_ai"]["LVO+"]["mean"]["value"] for each in (usual, mine))
    assert lvo_mine > lvo_usual
    file.write_text("schema: site/1\n")
    assert isinstance(CliRunner().invoke(build(("simulate",)), [*asked, "--site", str(file)]).exception, SiteFileRefused)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (["simulate", "g1", "--policy", "LIFO"], NotFound),
        (["simulate", "golden", "--plot", "x.svg"], StackError),
        (["simulate", "golden", "--site", "x.yaml"], StackError),
        (["simulate", "sensitivity", "--policy", "FIFO"], StackError),
        (["simulate", "g1", "--nightly"], StackError),
        (["simulate", "g1", "--exams", "2000", "--plot", "/nowhere/x.svg"], StackError),
    ],
)
def test_what_cannot_be_done_is_said(asked, error):
    """Unknown policies, options that do not apply, and files that cannot be written end in an error of ours."""
    assert isinstance(CliRunner().invoke(build(("simulate",)), asked).exception, error)


def test_a_wrong_figure_does_not_hold():
    """One per cent beside a published value is out, and so is a simulation that its interval does not explain."""
    good = golden.Row(table="t", name="n", published=100.0, ours=100.4, allowed=0.505)

    assert good.holds
    assert not msgspec.structs.replace(good, ours=101.0).holds
    assert not msgspec.structs.replace(good, simulated=golden.Estimate(103.0, 2.0)).holds
    assert set(published.POLICIES) == {rule.name for rule in golden.load("policies").policies} - {"Readfirst"}


def test_replaying_a_scenario_gives_the_same_waits():
    """Same seed, same studies, same policy: the same minutes to the last bit."""
    scenario = department()
    studies = draw(scenario, 2000, 9)
    rule = Rule(name="ours", kind="readfirst")

    assert np.array_equal(run(scenario, studies, rule).finished, run(scenario, replace(studies), rule).finished)
