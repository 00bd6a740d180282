"""The figures of a classifier as rows of a table: for all, for subgroups, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.bootstrap import Interval, bootstrap_interval
from pipeline.models.evaluation.calibration import brier, ece
from pipeline.models.evaluation.discrimination import Figure, Labels, Scores, auc, auprc, min_se_ppv

FIGURES: dict[str, Figure] = {"auc": auc, "auprc": auprc, "min_se_ppv": min_se_ppv, "ece": ece, "brier": brier}
_AGE_BANDS = ((0, 45), (45, 65), (65, 80), (80, 200))
SMALLEST_SUBGROUP = 10
"""Rows, and at least one of each class: of fewer, figures say nothing."""


def figures(positive: Labels, probability: Scores) -> dict[str, Any]:
    """Each of FIGURES to four digits, and how many rows and outcomes they are of. None where a figure does not exist."""
    found = {name: _rounded(figure(positive, probability)) for name, figure in FIGURES.items()}
    return {**found, "n": len(positive), "positives": int(positive.sum())}


def intervals(positive: Labels, probability: Scores, groups: NDArray[np.generic] | None = None, samples: int = 1000) -> dict[str, Interval]:
    """95 % bootstrap intervals of FIGURES; `groups` as in `bootstrap_interval`."""
    pairs = {name: bootstrap_interval(figure, positive, probability, groups, samples) for name, figure in FIGURES.items()}
    return {name: (round(low, 4), round(high, 4)) for name, (low, high) in pairs.items()}


def subgroups(positive: Labels, probability: Scores, members: Mapping[str, Labels]) -> dict[str, dict[str, Any]]:
    """`members`: name -> [n], who belongs. A subgroup too small for figures has its counts alone."""
    return {name: _subgroup(positive[chosen], probability[chosen]) for name, chosen in members.items()}


def age_bands(age: NDArray[np.floating]) -> dict[str, Labels]:
    """age: [n], years, NaN where unknown -> band -> [n], who belongs."""
    return {f"age {low}-{high - 1}" if high < 200 else f"age {low}+": (age >= low) & (age < high) for low, high in _AGE_BANDS}


def thirds(spread: NDArray[np.floating]) -> dict[str, Labels]:
    """Who belongs to the third of whom the model is surest, less sure, least sure."""
    low, high = np.quantile(spread, (1 / 3, 2 / 3))
    return {"least spread": spread <= low, "middle": (spread > low) & (spread <= high), "most spread": spread > high}


def _subgroup(positive: Labels, probability: Scores) -> dict[str, Any]:
    if len(positive) < SMALLEST_SUBGROUP or positive.all() or not positive.any():
        return {**dict.fromkeys(FIGURES), "n": len(positive), "positives": int(positive.sum())}
    return figures(positive, probability)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
