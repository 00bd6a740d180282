"""The simulator's Readfirst is the live policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.domain import deadlines
from pipeline.domain.emergencies import BUNDLES
from pipeline.domain.site import DEFAULT, Pull
from pipeline.simulation.department.live import budgets, targets
from pipeline.simulation.department.scenario import Rule
from pipeline.simulation.department.streams import draw
from schemas.assessments import Evidence, StudyState
from tests.unit.simulation.departments import AI, GROUP, department

OURS = Rule(name="ours", kind="readfirst")
ORDERS = [
    {"name": "stat", "share": 0.3, "priority": "stat", "patient_class": "E"},
    {"name": "none", "share": 0.7, "patient_class": "O"},
]
SIGNS = [
    {"name": "words", "given": {"bleed": 0.5, "none": 0.2}, "indication": "intracranial haemorrhage?"},
    {"name": "unwell", "given": {"bleed": 0.5, "none": 0.2}, "news2": {"respiration": 26, "not_alert": True}},
]


def test_minutes_are_the_live_policys():
    """For a study with order and risk alone, the budget is what `deadlines.decide` says of the same study."""
    scenario = department(orders=ORDERS)
    studies = draw(scenario, 200, 1)
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    found = budgets(scenario, studies, OURS)

    for n in range(len(studies)):
        order = scenario.orders[studies.order[n]]
        study = StudyState(study_uid="1", ready_at=noon, priority=order.priority, patient_class=order.patient_class)
        found_there = Evidence(kind="image", code="", label="", severity=DEFAULT.image.of(round(float(studies.risk[n]), 4)))
        due = deadlines.decide(study, [found_there]).due_at
        assert timedelta(minutes=float(found[n])) == due - noon


def test_never_later_than_the_order():
    """AI and context only shorten; without both, the order's own minutes stand."""
    scenario, bare = department(orders=ORDERS, signs=SIGNS), department(orders=ORDERS, ais=[])
    studies = draw(scenario, 2000, 1)

    assert (budgets(scenario, studies, OURS) <= targets(scenario, studies)).all()
    assert np.array_equal(budgets(bare, draw(bare, 2000, 1), OURS), targets(bare, draw(bare, 2000, 1)))


def test_words_and_vital_signs_are_read_by_the_live_rules():
    """An indication gives its bundle's minutes, vital signs their NEWS2's; without signs neither counts."""
    scenario = department(ais=[], orders=[{"name": "o", "priority": "routine", "patient_class": "O"}], signs=SIGNS)
    studies = draw(scenario, 2000, 1)
    found = budgets(scenario, studies, OURS)
    words, unwell = studies.signs[:, 0], studies.signs[:, 1]
    bundle = next(one.minutes for one in BUNDLES if one.code == "intracranial-bleed")

    assert np.unique(found[words]).tolist() == [min(bundle, 35)]
    assert np.unique(found[unwell & ~words]) == pytest.approx([42.4], abs=0.5)  # NEWS2 6: between 60 min (5) and 30 (7)
    assert np.unique(found[~unwell & ~words]).tolist() == [3 * 1440]
    assert np.unique(budgets(scenario, studies, Rule(name="bare", kind="readfirst", signs=False))).tolist() == [3 * 1440]


def test_a_sites_own_rules_are_asked():
    """Where a site lets the pull be full from a lower probability on, a flag is due at its floor."""
    scenario = department(orders=[{"name": "o", "priority": "urgent", "patient_class": "I"}])
    studies = draw(scenario, 2000, 1)
    flagged = studies.flags[:, 0]
    usual, site = budgets(scenario, studies, OURS), budgets(scenario, studies, OURS, replace(DEFAULT, image=Pull(0.05, 0.5, 20)))

    assert np.unique(site[flagged]).tolist() == [20]  # its positive predictive value is 0.53
    assert (usual[flagged] > 20).all()
    assert (site <= usual).all()


def test_only_the_ais_own_group_hears_its_risk():
    """A study that no AI looks at has no risk, which is neither high nor low."""
    groups = [{**GROUP, "share": 0.5}, {"name": "MR", "share": 0.5, "reading": {"mean": 10}}]
    scenario = department(groups=groups, ais=[AI], orders=[{"name": "o", "priority": "urgent", "patient_class": "I"}])
    studies = draw(scenario, 2000, 1)

    assert np.isnan(studies.risk[studies.group == 1]).all()
    assert np.unique(budgets(scenario, studies, OURS)[studies.group == 1]).tolist() == [720]
