"""Whether predicted probabilities come true, and the logistic regression that makes them so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.discrimination import Labels, Scores


def brier(positive: Labels, probability: Scores) -> float:
    """Mean squared difference between probability and outcome."""
    return float(np.mean((probability - positive) ** 2))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One tenth of the patients by predicted probability: how many, what was predicted, what came."""

    n: int
    predicted: float
    observed: float


def calibration(positive: Labels, probability: Scores, bins: int = 10) -> list[CalibrationBin]:
    """The calibration curve in bins of equal count, lowest first."""
    order = np.argsort(probability, kind="stable")
    return [
        CalibrationBin(len(part), float(probability[part].mean()), float(positive[part].mean()))
        for part in np.array_split(order, bins)
        if len(part)
    ]


def ece(positive: Labels, probability: Scores) -> float:
    """Expected calibration error over ten bins of equal count."""
    return sum(bin.n * abs(bin.predicted - bin.observed) for bin in calibration(positive, probability)) / len(positive)


def slope_and_intercept(positive: Labels, probability: Scores) -> tuple[float, float]:
    """Of the outcome's logistic regression on the predicted logit: 1 and 0 where the probabilities are neither too bold nor too high."""
    slope, intercept = fit_logistic(logit(probability)[:, None], positive)
    return float(slope), float(intercept)


def logit(probability: Scores) -> NDArray[np.float64]:
    """Log odds, bounded at one in a million."""
    bounded = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(bounded / (1 - bounded))
    return odds


def fit_logistic(x: NDArray[np.floating], positive: Labels, ridge: float = 1e-6, steps: int = 50) -> NDArray[np.float64]:
    """Weights of a logistic regression by Newton's method, the intercept last (and not penalised)."""
    design = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    penalty = np.diag([ridge] * (design.shape[1] - 1) + [0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (p - positive) + penalty @ weights
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + penalty + 1e-9 * np.eye(len(weights)), gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights
