"""What a risk model sees of a patient: a few named numbers for each observable, out of the window's readings and tallies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.catalogue import KEEP
from pipeline.domain.history import Tallies, Tally
from pipeline.domain.readings import Reading, Readings
from schemas.assessments import Features
from schemas.codes import Sex

LAYOUT_VERSION = 2
"""Grows with any change to OBSERVABLES, STATISTICS or their meaning: a model states which layout it was trained on."""

OBSERVABLES: tuple[str, ...] = (
    *("heart_rate", "respiratory_rate", "spo2", "systolic_bp", "diastolic_bp", "mean_bp", "temperature", "gcs", "fio2"),
    *("urine_output", "weight"),
    *("potassium", "sodium", "glucose", "magnesium", "bicarbonate", "ph", "pco2", "po2", "haematocrit", "platelets", "wbc"),
    *("troponin_i", "troponin_t", "creatinine", "urea_nitrogen", "lactate", "bilirubin", "alt", "ast", "alkaline_phosphatase"),
    *("albumin", "cholesterol"),
)
STATISTICS = ("last", "age_h", "delta", "span_h", "min", "max", "mean", "count", "sd", "slope", "earlier")
"""last: newest value. age_h: its age at `as_of`, hours. delta: newest minus oldest retained value. span_h: hours between the two.
min, max, mean, count, sd, slope (per hour): of the retained values and of the tallies of those before them, a tally standing at the middle
of its half day. earlier: mean of what is older than EARLIER, absent when nothing is. All but the first two only if there are two values."""

EARLIER = timedelta(hours=12)

DEMOGRAPHICS = ("age", "sex")
"""age in years; sex as 1 female, 0 male."""

NAMES: tuple[str, ...] = (*(f"{name}.{statistic}" for name in OBSERVABLES for statistic in STATISTICS), *DEMOGRAPHICS)
GROUPS: tuple[str, ...] = (*OBSERVABLES, *DEMOGRAPHICS)
"""What can be present or absent as a whole, in the order of a model's contributions."""

MAX_AGE = timedelta(days=7)

NOTHING: Tallies = {}

_INDEX = {name: index for index, name in enumerate(NAMES)}
_KEYS = {name: tuple(f"{name}.{statistic}" for statistic in STATISTICS) for name in OBSERVABLES}
_EARLIER_H = EARLIER.total_seconds() / 3600
_SEX_CODE: dict[Sex, float] = {"F": 1.0, "M": 0.0}


def extract(readings: Readings, as_of: datetime, age: float | None, sex: Sex, tallies: Tallies = NOTHING) -> Features:
    """The features at `as_of`. A missing input is absent, never imputed; readings after `as_of` or older than MAX_AGE don't count.

    `tallies`: of what came before the newest KEEP readings of each observable; readings beyond those are not read.
    """
    values: dict[str, float] = {}
    oldest = as_of - MAX_AGE
    for name in OBSERVABLES:
        if counted := retained(readings.get(name, ()), oldest, as_of):
            values.update(zip(_KEYS[name], _statistics(counted, tallies.get(name, ()), as_of), strict=False))
    return Features(values=values, age=age, sex=sex)


def vector(features: Features) -> NDArray[np.float32]:
    """float32 in the order of NAMES, NaN for what is absent. Names that this layout does not know are passed over."""
    row = np.full(len(NAMES), np.nan, dtype=np.float32)
    for name, value in features.values.items():
        index = _INDEX.get(name)
        if index is not None:
            row[index] = value
    if features.age is not None:
        row[-2] = features.age
    row[-1] = _SEX_CODE.get(features.sex, math.nan)
    return row


def matrix(requests: Sequence[Features]) -> NDArray[np.float32]:
    """One row of `vector` for each."""
    return np.stack([vector(features) for features in requests]) if requests else np.empty((0, len(NAMES)), dtype=np.float32)


def coverage(features: Features) -> float:
    """Share of GROUPS that are present, 0 to 1."""
    present = sum(keys[0] in features.values for keys in _KEYS.values())
    return (present + (features.age is not None) + (features.sex in _SEX_CODE)) / len(GROUPS)


def retained(readings: Sequence[Reading], oldest: datetime, as_of: datetime) -> list[Reading]:
    """The newest KEEP of one observable's readings from `oldest` to `as_of`: those that count one by one."""
    return [reading for reading in readings if oldest <= reading.at <= as_of][-KEEP:]


def _statistics(retained: Sequence[Reading], tallies: Sequence[Tally], as_of: datetime) -> tuple[float, ...]:
    """In the order of STATISTICS; two numbers for a single value. Five digits keep the record short."""
    first, last = retained[0], retained[-1]
    numbers: tuple[float, ...] = (last.value, _hours(as_of - last.at))
    if len(retained) > 1 or tallies:
        numbers += (last.value - first.value, _hours(last.at - first.at), *_spread(retained, tallies, as_of))
    return tuple(float(f"{number:.5g}") for number in numbers)


def _spread(retained: Sequence[Reading], tallies: Sequence[Tally], as_of: datetime) -> tuple[float, ...]:
    """min, max, mean, count, sd, slope and, if there is any, earlier."""
    points = [(_hours(as_of - tally.middle), tally.count, tally.mean) for tally in tallies]
    points += [(_hours(as_of - reading.at), 1, reading.value) for reading in retained]
    low = min(min(value for _, _, value in points), min((tally.low for tally in tallies), default=math.inf))
    high = max(max(value for _, _, value in points), max((tally.high for tally in tallies), default=-math.inf))
    count = sum(n for _, n, _ in points)
    mean, age = sum(n * value for _, n, value in points) / count, sum(n * hours for hours, n, _ in points) / count
    variance = sum(n * (value - mean) ** 2 for _, n, value in points) / count
    scatter = sum(n * (hours - age) ** 2 for hours, n, _ in points)
    slope = sum(n * (age - hours) * value for hours, n, value in points) / scatter if scatter > 0 else 0.0
    old = [(n, value) for hours, n, value in points if hours > _EARLIER_H]
    earlier = (sum(n * value for n, value in old) / sum(n for n, _ in old),) if old else ()
    return (low, high, mean, count, math.sqrt(variance), slope, *earlier)


def _hours(duration: timedelta) -> float:
    return duration.total_seconds() / 3600
