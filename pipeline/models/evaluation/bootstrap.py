"""Percentile intervals by resampling patients, not rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.discrimination import Figure, Labels, Scores

Interval = tuple[float, float]
_LEVELS = (0.025, 0.975)


def bootstrap_interval(
    figure: Figure, positive: Labels, score: Scores, groups: NDArray[np.generic] | None = None, samples: int = 1000, seed: int = 0
) -> Interval:
    """95 % interval. `groups`: [n], the patient (or hospital) of each row; whole groups are drawn. None: one row a patient.

    Samples in which the figure does not exist (one class only) are passed over; NaN when there are no others.
    """
    values = [figure(positive[rows], score[rows]) for rows in _drawn(len(positive), groups, samples, seed)]
    return _quantiles(values)


def bootstrap_difference(
    figure: Figure,
    positive: Labels,
    score: Scores,
    other: Scores,
    groups: NDArray[np.generic] | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> Interval:
    """95 % interval of figure(score) - figure(other) on the same patients, drawn in pairs."""
    drawn = _drawn(len(positive), groups, samples, seed)
    return _quantiles([figure(positive[rows], score[rows]) - figure(positive[rows], other[rows]) for rows in drawn])


def rounded(interval: Interval) -> Interval:
    """To the four digits that documents hold."""
    return round(interval[0], 4), round(interval[1], 4)


def _drawn(n: int, groups: NDArray[np.generic] | None, samples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    if groups is None:
        yield from (rng.integers(0, n, n) for _ in range(samples))
        return
    _, group_of_row = np.unique(groups, return_inverse=True)
    order = np.argsort(group_of_row, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(group_of_row))[:-1])
    for _ in range(samples):
        yield np.concatenate([members[group] for group in rng.integers(0, len(members), len(members))])


def _quantiles(values: list[float]) -> Interval:
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, _LEVELS)
    return float(low), float(high)
