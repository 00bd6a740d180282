"""What a risk model sees of a patient: a few named numbers for each observable, out of the window's retained readings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.readings import Reading, Readings
from schemas.assessments import Features
from schemas.codes import Sex

LAYOUT_VERSION = 1
"""Grows with any change to OBSERVABLES, STATISTICS or their meaning: a model states which layout it was trained on."""

OBSERVABLES: tuple[str, ...] = (
    *("heart_rate", "respiratory_rate", "spo2", "systolic_bp", "diastolic_bp", "mean_bp", "temperature", "gcs", "fio2"),
    *("urine_output", "weight"),
    *("potassium", "sodium", "glucose", "magnesium", "bicarbonate", "ph", "pco2", "po2", "haematocrit", "platelets", "wbc"),
    *("troponin_i", "troponin_t", "creatinine", "urea_nitrogen", "lactate", "bilirubin", "alt", "ast", "alkaline_phosphatase"),
    *("albumin", "cholesterol"),
)
STATISTICS = ("last", "age_h", "min", "max", "mean", "delta", "span_h")
"""last: newest value. age_h: its age at `as_of`, hours. min, max, mean: of the retained values. delta: newest minus oldest retained value.
span_h: hours between the two. All but the first two are there only when at least two values are."""

DEMOGRAPHICS = ("age", "sex")
"""age in years; sex as 1 female, 0 male."""

NAMES: tuple[str, ...] = (*(f"{name}.{statistic}" for name in OBSERVABLES for statistic in STATISTICS), *DEMOGRAPHICS)
GROUPS: tuple[str, ...] = (*OBSERVABLES, *DEMOGRAPHICS)
"""What can be present or absent as a whole, in the order of a model's contributions."""

MAX_AGE = timedelta(days=7)

_INDEX = {name: index for index, name in enumerate(NAMES)}
_KEYS = {name: tuple(f"{name}.{statistic}" for statistic in STATISTICS) for name in OBSERVABLES}
_KEEP = {name: BY_NAME[name].keep for name in OBSERVABLES}
_SEX_CODE: dict[Sex, float] = {"F": 1.0, "M": 0.0}


def extract(readings: Readings, as_of: datetime, age: float | None, sex: Sex) -> Features:
    """The features at `as_of`. A missing input is absent, never imputed; readings after `as_of` or older than MAX_AGE don't count."""
    values: dict[str, float] = {}
    oldest = as_of - MAX_AGE
    for name in OBSERVABLES:
        if retained := _retained(readings.get(name, ()), oldest, as_of, _KEEP[name]):
            values.update(zip(_KEYS[name], _statistics(retained, as_of), strict=False))
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


def _retained(readings: Sequence[Reading], oldest: datetime, as_of: datetime, keep: int) -> list[Reading]:
    return [reading for reading in readings if oldest <= reading.at <= as_of][-keep:]


def _statistics(retained: Sequence[Reading], as_of: datetime) -> tuple[float, ...]:
    """In the order of STATISTICS; two numbers for a single value. Five digits keep the record short."""
    first, last = retained[0], retained[-1]
    numbers: tuple[float, ...] = (last.value, _hours(as_of - last.at))
    if len(retained) > 1:
        series = [reading.value for reading in retained]
        numbers += (min(series), max(series), sum(series) / len(series), last.value - first.value, _hours(last.at - first.at))
    return tuple(float(f"{number:.5g}") for number in numbers)


def _hours(duration: timedelta) -> float:
    return duration.total_seconds() / 3600
