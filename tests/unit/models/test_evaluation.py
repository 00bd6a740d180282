"""The figures are the textbook's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.models.evaluation import bootstrap, calibration, plots, summary
from pipeline.models.evaluation.decision_curve import decision_curve
from pipeline.models.evaluation.discrimination import auc, auprc, min_se_ppv, ppv_at, roc, working_points

DIED = np.array([False, False, True, True])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])
"""The worked example of scikit-learn's documentation: AUC 0.75, average precision 0.8333."""


def drawn(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and the probabilities that they were drawn with."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.1, 0.7, count)
    return rng.random(count) < probability, probability


def test_auc_and_average_precision() -> None:
    """Against a published example."""
    assert auc(DIED, SCORE) == pytest.approx(0.75)
    assert auprc(DIED, SCORE) == pytest.approx(0.83333, abs=1e-5)


def test_ties_count_half() -> None:
    """A constant score knows nothing: AUC 0.5, precision is the base rate."""
    same = np.zeros(4)

    assert auc(DIED, same) == 0.5
    assert auprc(DIED, same) == 0.5


def test_auc_is_the_share_of_ordered_pairs() -> None:
    """By its definition, on random scores with ties; the area under `roc` is the same."""
    rng = np.random.default_rng(3)
    died, score = rng.random(200) < 0.3, rng.integers(0, 20, 200).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[died] for b in score[~died]]
    false, true = roc(died, score)

    assert auc(died, score) == pytest.approx(np.mean(pairs))
    assert np.trapezoid(true, false) == pytest.approx(np.mean(pairs))


def test_min_se_ppv() -> None:
    """At the best threshold: taking 0.8, 0.4 and 0.35 gives sensitivity 1 and precision 2/3."""
    assert min_se_ppv(DIED, SCORE) == pytest.approx(2 / 3)


def test_one_class_has_no_figure() -> None:
    """NaN, not an error and not a lucky number."""
    nobody = np.zeros(4, dtype=bool)

    assert np.isnan([auc(nobody, SCORE), auprc(nobody, SCORE), min_se_ppv(nobody, SCORE), auc(~nobody, SCORE)]).all()


def test_a_working_point_reaches_its_sensitivity() -> None:
    """All of four found at 0.35: one of two without it is flagged too; at one in a hundred the precision is Bayes'."""
    (point,) = working_points(DIED, SCORE, [0.9], prevalence=0.01)

    assert (point.threshold, point.sensitivity, point.specificity, point.flagged) == (0.35, 1.0, 0.5, 0.75)
    assert point.ppv == pytest.approx(0.01 / (0.01 + 0.5 * 0.99))
    assert ppv_at(0.8, 0.9, 0.5) == pytest.approx(0.4 / 0.45)


def test_calibration() -> None:
    """Probabilities that come true have a small error; the same ones shifted by 0.2 an error of 0.2."""
    died, probability = drawn(50_000)

    assert calibration.ece(died, probability) < 0.01
    assert calibration.ece(died, probability + 0.2) == pytest.approx(0.2, abs=0.01)
    assert sum(part.n for part in calibration.calibration(died, probability)) == 50_000
    assert calibration.slope_and_intercept(died, probability) == pytest.approx((1, 0), abs=0.05)


def test_brier() -> None:
    """Mean squared error."""
    assert calibration.brier(np.array([True, False]), np.array([0.7, 0.1])) == pytest.approx((0.09 + 0.01) / 2)


def test_the_interval_holds_the_truth_and_is_repeatable() -> None:
    """A bootstrap interval of many patients lies around the figure; the same seed gives the same."""
    rng = np.random.default_rng(2)
    died = rng.random(2000) < 0.2
    score = died + rng.normal(size=2000)
    low, high = bootstrap.bootstrap_interval(auc, died, score, samples=200)

    assert low < auc(died, score) < high < low + 0.1
    assert bootstrap.bootstrap_interval(auc, died, score, samples=200) == (low, high)


def test_whole_patients_are_drawn() -> None:
    """Ten copies of each row under its patient's name make the interval no narrower; without the names they would."""
    died, score = drawn(200, seed=5)
    single = bootstrap.bootstrap_interval(auc, died, score, samples=300)
    patients, copied, scores = np.repeat(np.arange(200), 10), np.repeat(died, 10), np.repeat(score, 10)
    grouped, naive = (bootstrap.bootstrap_interval(auc, copied, scores, groups, samples=300) for groups in (patients, None))

    assert grouped[1] - grouped[0] == pytest.approx(single[1] - single[0], rel=0.2)
    assert naive[1] - naive[0] < 0.5 * (single[1] - single[0])


def test_a_paired_difference_knows_the_better_one() -> None:
    """Noise added to a score makes it worse, and the interval says so; a score against itself differs by nothing."""
    died, score = drawn(3000, seed=6)
    noisy = score + np.random.default_rng(0).normal(0, 0.2, len(score))

    assert bootstrap.bootstrap_difference(auc, died, score, noisy, samples=200)[0] > 0
    assert bootstrap.bootstrap_difference(auc, died, score, score, samples=20) == (0, 0)


def test_net_benefit() -> None:
    """By hand at 0.2: three flagged, one of them wrongly, worth a quarter; acting on all: two right, two wrong."""
    (point,) = decision_curve(DIED, SCORE, [0.2])

    assert point.model == pytest.approx((2 - 1 * 0.25) / 4)
    assert point.all == pytest.approx((2 - 2 * 0.25) / 4)


def test_subgroups_too_small_have_counts_only() -> None:
    """No figure of a handful, nor of one class; others as if alone."""
    died, score = drawn(500)
    first = np.arange(500) < 250
    rows = summary.subgroups(died, score, {"first": first, "few": np.arange(500) < 5, "none died": ~died})

    assert rows["first"] == summary.figures(died[first], score[first])
    assert (rows["few"]["auc"], rows["few"]["n"]) == (None, 5)
    assert rows["none died"]["auc"] is None


def test_logistic_regression_finds_its_weights() -> None:
    """Data drawn from a known model."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50_000, 2))
    died = rng.random(50_000) < 1 / (1 + np.exp(-(1.5 * x[:, 0] - 0.5 * x[:, 1] - 1)))

    assert calibration.fit_logistic(x, died) == pytest.approx([1.5, -0.5, -1], abs=0.06)


def test_plots_are_repeatable(tmp_path: Path) -> None:
    """Each is an SVG with its axes named, byte for byte the same again."""
    died, score = drawn(400)
    for name in ("a", "b"):
        plots.plot_calibration(tmp_path / f"{name}-calibration.svg", calibration.calibration(died, score))
        plots.plot_roc(tmp_path / f"{name}-roc.svg", {"model": roc(died, score)})
        plots.plot_decision_curve(tmp_path / f"{name}-decision.svg", decision_curve(died, score))

    for kind, words in (("calibration", "observed share"), ("roc", "sensitivity"), ("decision", "net benefit")):
        drawn_once, again = ((tmp_path / f"{name}-{kind}.svg").read_text() for name in ("a", "b"))
        assert words in drawn_once
        assert drawn_once == again
