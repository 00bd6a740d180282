"""The figures are the textbook's."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.models import metrics

DIED = np.array([False, False, True, True])
SCORE = np.array([0.1, 0.4, 0.35, 0.8])
"""The worked example of scikit-learn's documentation: AUC 0.75, average precision 0.8333."""


def test_auc_and_average_precision() -> None:
    """Against a published example."""
    assert metrics.auc(DIED, SCORE) == pytest.approx(0.75)
    assert metrics.auprc(DIED, SCORE) == pytest.approx(0.83333, abs=1e-5)


def test_ties_count_half() -> None:
    """A constant score knows nothing: AUC 0.5, precision is the base rate."""
    same = np.zeros(4)

    assert metrics.auc(DIED, same) == 0.5
    assert metrics.auprc(DIED, same) == 0.5


def test_auc_is_the_share_of_ordered_pairs() -> None:
    """By its definition, on random scores with ties."""
    rng = np.random.default_rng(3)
    died, score = rng.random(200) < 0.3, rng.integers(0, 20, 200).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[died] for b in score[~died]]

    assert metrics.auc(died, score) == pytest.approx(np.mean(pairs))


def test_min_se_ppv() -> None:
    """At the best threshold: taking 0.8, 0.4 and 0.35 gives sensitivity 1 and precision 2/3."""
    assert metrics.min_se_ppv(DIED, SCORE) == pytest.approx(2 / 3)


def test_calibration() -> None:
    """Probabilities that come true have a small error; the same ones shifted by 0.2 an error of 0.2."""
    rng = np.random.default_rng(1)
    probability = rng.uniform(0.1, 0.7, 50_000)
    died = rng.random(50_000) < probability

    assert metrics.ece(died, probability) < 0.01
    assert metrics.ece(died, probability + 0.2) == pytest.approx(0.2, abs=0.01)
    assert sum(part.n for part in metrics.calibration_curve(died, probability)) == 50_000


def test_brier() -> None:
    """Mean squared error."""
    assert metrics.brier(np.array([True, False]), np.array([0.7, 0.1])) == pytest.approx((0.09 + 0.01) / 2)


def test_the_interval_holds_the_truth_and_is_repeatable() -> None:
    """A bootstrap interval of many patients lies around the figure; the same seed gives the same."""
    rng = np.random.default_rng(2)
    died = rng.random(2000) < 0.2
    score = died + rng.normal(size=2000)
    low, high = metrics.interval(metrics.auc, died, score, samples=200)

    assert low < metrics.auc(died, score) < high < low + 0.1
    assert metrics.interval(metrics.auc, died, score, samples=200) == (low, high)


def test_logistic_regression_finds_its_weights() -> None:
    """Data drawn from a known model."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50_000, 2))
    died = rng.random(50_000) < 1 / (1 + np.exp(-(1.5 * x[:, 0] - 0.5 * x[:, 1] - 1)))

    assert metrics.fit_logistic(x, died) == pytest.approx([1.5, -0.5, -1], abs=0.06)
