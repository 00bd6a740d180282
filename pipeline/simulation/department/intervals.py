"""Estimates with intervals, by batch means: one long run is cut into equal batches, which are as good as independent.

Source: A. Law, Simulation Modeling and Analysis (5th ed.), 9.5.3; control variates: 11.4.
"""

from __future__ import annotations

from statistics import NormalDist

import msgspec
import numpy as np

from pipeline.simulation.department.streams import Bools, Floats

CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True):
    """value, and half the width of its interval; that is None where too few batches held such a study."""

    value: float
    plus_minus: float | None = None

    def holds(self, other: float) -> bool:
        """Whether the interval covers it."""
        return self.plus_minus is not None and abs(other - self.value) <= self.plus_minus


def batch_means(values: Floats, among: Bools, batches: int) -> Floats:
    """The mean of each batch over the studies `among`; not a number where it has none. The studies are cut into equal runs, in order."""
    which = np.arange(len(values)) * batches // len(values)
    counts = np.bincount(which[among], minlength=batches)
    sums = np.bincount(which[among], weights=values[among], minlength=batches)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


def of_batches(values: Floats, confidence: float = CONFIDENCE, lost: int = 1) -> Estimate:
    """lost: degrees of freedom that the mean, and whatever was fitted, took."""
    known = values[~np.isnan(values)]
    if len(known) <= lost:
        return Estimate(float(known.mean())) if len(known) else Estimate(float("nan"))
    spread = float(np.sqrt(((known - known.mean()) ** 2).sum() / (len(known) - lost) / len(known)))
    return Estimate(float(known.mean()), student(confidence, len(known) - lost) * spread)


def controlled(values: Floats, control: Floats, known: float, confidence: float = CONFIDENCE) -> Estimate:
    """The same with a control variate: what the same studies made of a quantity whose true mean is `known` takes most of the chance of the
    draw away (regression over batches)."""
    both = ~(np.isnan(values) | np.isnan(control))
    mine, other = values[both], control[both]
    moved = other - other.mean()
    slope = float((moved * (mine - mine.mean())).sum() / (moved**2).sum()) if moved.any() else 0.0
    return of_batches(mine - slope * (other - known), confidence, lost=2)


def student(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t, by Hill's expansion around the normal one: within 0.1 % from nine degrees on."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / degrees ** (n + 1) for n, term in enumerate(terms)))
