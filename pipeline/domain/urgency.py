"""One currency for all reasons: severity 0..1, exchanged for the minutes in which a study should be read."""

from __future__ import annotations

import math
from itertools import pairwise

FLOOR_MINUTES = 5.0
"""Nothing is asked for sooner: it takes this long to open a study."""

LONGEST_MINUTES = 28 * 24 * 60.0
"""The outer bound of any report (NHS England, turnaround guidance of August 2023)."""

_SPAN = math.log(LONGEST_MINUTES / FLOOR_MINUTES)


def severity_of(minutes: float) -> float:
    """Falls from 1 (5 minutes) to 0 (28 days and more), evenly on a logarithmic scale."""
    held = min(max(minutes, FLOOR_MINUTES), LONGEST_MINUTES)
    return round(math.log(LONGEST_MINUTES / held) / _SPAN, 6)


def minutes_of(severity: float) -> float:
    """The inverse: continuous, and shorter the higher the severity. Out of 0..1 is held at the ends; not a number is no pull."""
    held = 0.0 if math.isnan(severity) else min(max(severity, 0.0), 1.0)
    return LONGEST_MINUTES * math.exp(-held * _SPAN)


def interpolate(points: tuple[tuple[float, float], ...], x: float) -> float:
    """Minutes at `x`, between ascending `points` (x, minutes) straight on a logarithmic scale, held at the ends."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, m0), (x1, m1) in pairwise(points):
        if x <= x1:
            return float(m0 * (m1 / m0) ** ((x - x0) / (x1 - x0)))
    return points[-1][1]
