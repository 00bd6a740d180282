"""The studies that a scenario draws."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.simulation.department.loading import load
from pipeline.simulation.department.streams import draw
from tests.unit.simulation.departments import AI, GROUP, department


def test_shares_are_the_scenarios():
    """Groups, diseases, flags, predictive value and load come out as the file says."""
    g1, studies = load("g1"), draw(load("g1"), 200_000, 1)
    ich = studies.disease == 1 + g1.diseases.index("ICH")
    flagged = studies.flagged == 1

    assert (studies.group == 0).mean() == pytest.approx(0.7, abs=0.005)
    assert ich[studies.group == 0].mean() == pytest.approx(0.211, abs=0.005)
    assert studies.found[ich].mean() == pytest.approx(0.9361, abs=0.01)
    assert ich[flagged].mean() == pytest.approx(0.7924, abs=0.01)
    assert studies.risk[flagged] == pytest.approx(0.7924, abs=0.001)
    assert studies.minutes.sum() / studies.arrival[-1] == pytest.approx(0.8, abs=0.01)


def test_the_same_seed_gives_the_same_studies_whatever_the_ai():
    """Common random numbers: another AI changes its answers, and nothing else."""
    one, other = draw(department(), 5000, 7), draw(department(ais=[{**AI, "specificity": 0.5}]), 5000, 7)

    for name in ("arrival", "group", "disease", "minutes", "order"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert other.flags.sum() > one.flags.sum()
    assert not np.array_equal(one.arrival, draw(department(), 5000, 8).arrival)


def test_hours_of_the_day():
    """With all weight on the hours from 8 to 10, all studies come then, as many a day as before."""
    by_hour = [0.0] * 8 + [1.0, 1.0] + [0.0] * 14
    studies = draw(department(arrivals={"per_hour": 2.0, "by_hour": by_hour}), 20_000, 1)
    hour = studies.arrival % 1440 / 60

    assert hour.min() >= 8
    assert hour.max() <= 10
    assert studies.arrival[-1] / 1440 == pytest.approx(20_000 / 48, rel=0.03)


def test_a_roc_gives_its_operating_point_and_calibrated_risks():
    """Sensitivity at the chosen specificity is the curve's, and of studies told a risk of p, a share p is diseased."""
    ai = {"name": "AI", "group": "CT", "finds": "bleed", "specificity": 0.9, "roc": [[0.05, 0.5], [0.1, 0.7], [0.4, 0.95]]}
    studies = draw(department(ais=[ai]), 200_000, 3)
    sick = studies.disease == 1

    assert studies.flags[sick].mean() == pytest.approx(0.7, abs=0.01)
    assert studies.flags[~sick].mean() == pytest.approx(0.1, abs=0.005)
    risks = np.unique(studies.risk)
    assert len(risks) == 4
    for risk in risks:
        assert sick[studies.risk == risk].mean() == pytest.approx(risk, abs=0.02)


@pytest.mark.parametrize(("distribution", "variation"), [("exponential", 1.0), ("gamma", 0.5), ("lognormal", 0.8), ("fixed", 0.5)])
def test_reading_times(distribution, variation):
    """Each distribution has the mean and the variation that it was given."""
    group = {**GROUP, "reading": {"mean": 10, "distribution": distribution, "variation": variation}}
    minutes = draw(department(groups=[group]), 200_000, 1).minutes

    assert minutes.mean() == pytest.approx(10, rel=0.02)
    assert minutes.std() / minutes.mean() == pytest.approx(0 if distribution == "fixed" else variation, abs=0.03)


def test_flags_make_reading_longer():
    """Only what the AI looked at, by the minutes of its case; without AI nothing."""
    group = {**GROUP, "reading": {"mean": 10, "distribution": "fixed"}}
    studies = draw(department(groups=[group], ais=[{**AI, "false_flag_minutes": 2.5, "missed_minutes": 4}]), 5000, 1)
    sick, flagged = studies.disease == 1, studies.flags[:, 0]

    assert np.unique(studies.minutes).tolist() == [10]
    assert np.unique(studies.minutes_with_ai[flagged & ~sick]).tolist() == [12.5]
    assert np.unique(studies.minutes_with_ai[~flagged & sick]).tolist() == [14]
    assert np.unique(studies.minutes_with_ai[flagged == sick]).tolist() == [10]
