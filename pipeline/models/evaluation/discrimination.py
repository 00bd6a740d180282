"""How well a score ranks those with the outcome above those without, and what that means at a working point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.bool_]
Scores = NDArray[np.floating]
Figure = Callable[[Labels, Scores], float]
"""(who had the outcome [n], their scores [n]) -> one number."""


def auc(positive: Labels, score: Scores) -> float:
    """Area under the ROC curve: the chance that one with the outcome has the higher score, ties counting half. NaN with one class only."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(positive.sum())
    if positives in (0, len(positive)):
        return float("nan")
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * (len(positive) - positives)))


def auprc(positive: Labels, score: Scores) -> float:
    """Average precision: the mean of the precision at each true positive, going down the list; tied scores share one threshold."""
    hits, listed = _cumulative(positive, score)
    if not hits[-1]:
        return float("nan")
    return float((np.diff(hits, prepend=0) * hits / listed).sum() / hits[-1])


def min_se_ppv(positive: Labels, score: Scores) -> float:
    """The PhysioNet 2012 challenge's score 1 at its best threshold: the largest min(sensitivity, positive predictive value)."""
    hits, listed = _cumulative(positive, score)
    return float(np.minimum(hits / hits[-1], hits / listed).max()) if hits[-1] else float("nan")


def roc(positive: Labels, score: Scores) -> tuple[Scores, Scores]:
    """(false positive rate, sensitivity) at each distinct threshold, from (0, 0) to (1, 1)."""
    hits, listed = _cumulative(positive, score)
    false = listed - hits
    return np.append(0.0, false / max(false[-1], 1)), np.append(0.0, hits / max(hits[-1], 1))


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """What follows from calling everybody positive whose score is `threshold` or more. ppv is at `prevalence`."""

    threshold: float
    sensitivity: float
    specificity: float
    ppv: float
    prevalence: float
    flagged: float
    """Share of all that is called positive, in the data as it is."""


def working_points(
    positive: Labels, score: Scores, sensitivities: Iterable[float] = (0.8, 0.9, 0.95), prevalence: float | None = None
) -> list[WorkingPoint]:
    """For each wanted sensitivity the highest threshold that reaches it. `prevalence`: of the site, by default that of the data."""
    hits, listed = _cumulative(positive, score)
    thresholds = np.unique(score)[::-1]
    negatives = len(positive) - hits[-1]
    rate = float(positive.mean()) if prevalence is None else prevalence
    points = []
    for wanted in sensitivities:
        place = int(np.searchsorted(hits / hits[-1], wanted - 1e-12))
        sensitivity, specificity = float(hits[place] / hits[-1]), float(1 - (listed[place] - hits[place]) / max(negatives, 1))
        share = float(listed[place] / len(positive))
        points.append(WorkingPoint(float(thresholds[place]), sensitivity, specificity, ppv_at(sensitivity, specificity, rate), rate, share))
    return points


def ppv_at(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Positive predictive value where `prevalence` of the patients have the outcome, by Bayes' rule. NaN when nobody is called positive."""
    found, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return found / (found + false) if found + false > 0 else float("nan")


def _cumulative(positive: Labels, score: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """At each distinct threshold, from the highest: those with the outcome at or above it, all at or above it."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)
    return np.cumsum(positive[order])[ends], ends + 1
