"""Figures of a probabilistic classifier: discrimination, calibration, and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.bool_]
Scores = NDArray[np.floating]
Figure = Callable[[Labels, Scores], float]


def auc(died: Labels, score: Scores) -> float:
    """Area under the ROC curve: the chance that one who died has the higher score, ties counting half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(died.sum())
    return float((ranks[died].sum() - positives * (positives + 1) / 2) / (positives * (len(died) - positives)))


def auprc(died: Labels, score: Scores) -> float:
    """Average precision: the mean of the precision at each true positive, going down the list; tied scores share one threshold."""
    hits, listed = _cumulative(died, score)
    recalled = np.diff(hits, prepend=0)
    return float((recalled * hits / listed).sum() / hits[-1])


def min_se_ppv(died: Labels, score: Scores) -> float:
    """The challenge's score 1 at its best threshold: the largest min(sensitivity, positive predictive value)."""
    hits, listed = _cumulative(died, score)
    return float(np.minimum(hits / hits[-1], hits / listed).max())


def brier(died: Labels, probability: Scores) -> float:
    """Mean squared difference between probability and outcome."""
    return float(np.mean((probability - died) ** 2))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One tenth of the patients by predicted probability: how many, what was predicted, what came."""

    n: int
    predicted: float
    observed: float


def calibration_curve(died: Labels, probability: Scores, bins: int = 10) -> list[CalibrationBin]:
    """Bins of equal count, lowest first."""
    order = np.argsort(probability, kind="stable")
    return [
        CalibrationBin(len(part), float(probability[part].mean()), float(died[part].mean()))
        for part in np.array_split(order, bins)
        if len(part)
    ]


def ece(died: Labels, probability: Scores) -> float:
    """Expected calibration error over ten bins of equal count."""
    return sum(bin.n * abs(bin.predicted - bin.observed) for bin in calibration_curve(died, probability)) / len(died)


def interval(figure: Figure, died: Labels, score: Scores, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval; rows are resampled, so they must be one a patient."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, len(died), len(died)) for _ in range(samples))
    low, high = np.quantile([figure(died[rows], score[rows]) for rows in drawn], (0.025, 0.975))
    return float(low), float(high)


def fit_logistic(x: NDArray[np.floating], died: Labels, ridge: float = 1e-6, steps: int = 50) -> NDArray[np.float64]:
    """Weights of a logistic regression by Newton's method, the intercept last (and not penalised)."""
    design = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    penalty = np.diag([ridge] * (design.shape[1] - 1) + [0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (p - died) + penalty @ weights
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + penalty + 1e-9 * np.eye(len(weights)), gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _cumulative(died: Labels, score: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At each distinct threshold, from the highest: deaths at or above it, patients at or above it."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)
    return np.cumsum(died[order])[ends], ends + 1
