"""Net benefit: whether acting on the model does more good than acting on everybody or nobody (Vickers and Elkin 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.models.evaluation.discrimination import Labels, Scores

THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True, slots=True)
class NetBenefit:
    """Per patient, in true positives, where one is worth odds(threshold) false ones. `all`: of acting on everybody; nobody's is 0."""

    threshold: float
    model: float
    all: float


def decision_curve(positive: Labels, probability: Scores, thresholds: Sequence[float] = THRESHOLDS) -> list[NetBenefit]:
    """One point a threshold, each between 0 and 1."""
    everybody = np.ones_like(positive)
    return [NetBenefit(at, _net_benefit(positive, probability >= at, at), _net_benefit(positive, everybody, at)) for at in thresholds]


def _net_benefit(positive: Labels, treated: Labels, threshold: float) -> float:
    hits, false = int((positive & treated).sum()), int((~positive & treated).sum())
    return (hits - false * threshold / (1 - threshold)) / len(positive)
