"""NEWS2 exactly as the chart has it, and in part when not all seven parameters are known.

Source: Royal College of Physicians, National Early Warning Score (NEWS) 2, London 2017, charts 1, 2 and 4. Reproduced with acknowledgement.
Not for children under 16, nor in pregnancy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pipeline.domain.readings import Reading, Readings
from pipeline.domain.urgency import interpolate

YOUNGEST = 16.0
PARAMETERS = ("respiration", "spo2", "oxygen", "systolic", "pulse", "consciousness", "temperature")
Band = Literal["low", "low-medium", "medium", "high"]
Steps = tuple[tuple[float, int], ...]

# (highest value that still earns the points, points), ascending; the last row is open above
_RESPIRATION: Steps = ((8, 3), (11, 1), (20, 0), (24, 2), (math.inf, 3))
_SPO2_SCALE_1: Steps = ((91, 3), (93, 2), (95, 1), (math.inf, 0))
_SPO2_SCALE_2_AIR: Steps = ((83, 3), (85, 2), (87, 1), (math.inf, 0))
_SPO2_SCALE_2_OXYGEN: Steps = ((83, 3), (85, 2), (87, 1), (92, 0), (94, 1), (96, 2), (math.inf, 3))
_SYSTOLIC: Steps = ((90, 3), (100, 2), (110, 1), (219, 0), (math.inf, 3))
_PULSE: Steps = ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (math.inf, 3))
_TEMPERATURE: Steps = ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1), (math.inf, 2))

# Chart 4 with the minutes a trial protocol gives it: urgent (5) within 1 h, emergency (7) within 30 min; 1-4 means a look every 4 to 6 h.
_MINUTES = ((1.0, 1440.0), (4.0, 240.0), (5.0, 60.0), (7.0, 30.0), (12.0, 15.0), (20.0, 5.0))
_SINGLE_THREE_MINUTES = 120.0


@dataclass(frozen=True, slots=True)
class Observed:
    """The seven parameters; None is unknown, never normal.

    on_oxygen: any supplemental oxygen. not_alert: C, V, P or U. temperature: Cel.
    """

    respiration: float | None = None
    spo2: float | None = None
    on_oxygen: bool | None = None
    systolic: float | None = None
    pulse: float | None = None
    not_alert: bool | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class News2:
    """`points` by parameter, for those known. The total of a partial score is a lower bound of the whole one."""

    points: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """0..20."""
        return sum(self.points.values())

    @property
    def missing(self) -> tuple[str, ...]:
        """Parameters without a value, in the chart's order."""
        return tuple(name for name in PARAMETERS if name not in self.points)

    @property
    def band(self) -> Band:
        """Chart 2: clinical risk. A single parameter at 3 is low-medium."""
        if self.total >= 7:
            return "high"
        if self.total >= 5:
            return "medium"
        return "low-medium" if 3 in self.points.values() else "low"

    @property
    def minutes(self) -> float | None:
        """In how many minutes this patient should be looked at: None for a total of 0; never longer with more points."""
        if not self.total:
            return None
        by_total = interpolate(_MINUTES, self.total)
        return min(by_total, _SINGLE_THREE_MINUTES) if 3 in self.points.values() else by_total


def score(observed: Observed, scale: Literal[1, 2] = 1) -> News2:
    """Scale 2 only where a clinician prescribed it (target saturation 88-92 %)."""
    whole = _half_up
    found = {
        "respiration": _points(_RESPIRATION, whole(observed.respiration)),
        "spo2": _spo2_points(whole(observed.spo2), observed.on_oxygen, scale),
        "oxygen": None if observed.on_oxygen is None else 2 * observed.on_oxygen,
        "systolic": _points(_SYSTOLIC, whole(observed.systolic)),
        "pulse": _points(_PULSE, whole(observed.pulse)),
        "consciousness": None if observed.not_alert is None else 3 * observed.not_alert,
        "temperature": _points(_TEMPERATURE, whole(observed.temperature, 1)),
    }
    return News2({name: points for name, points in found.items() if points is not None})


def _half_up(value: float | None, digits: int = 0) -> float | None:
    """The chart knows whole numbers (temperature: tenths), so 36.04 is 36.0 and not a gap between two columns."""
    if value is None or math.isnan(value):
        return None
    factor = 10.0**digits
    return math.floor(round(value * factor, 6) + 0.5) / factor


def _points(steps: Steps, value: float | None) -> int | None:
    return None if value is None else next(points for highest, points in steps if value <= highest)


def _spo2_points(value: float | None, on_oxygen: bool | None, scale: Literal[1, 2]) -> int | None:
    if scale == 1:
        return _points(_SPO2_SCALE_1, value)
    if value is not None and value >= 93 and on_oxygen is None:
        return None  # on scale 2 the same 97 % is 0 on air and 3 on oxygen
    return _points(_SPO2_SCALE_2_OXYGEN if on_oxygen else _SPO2_SCALE_2_AIR, value)


# --- from the window ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assessed:
    """A score with what it rests on. fresh: parameters within their validity. stale: an older value adds to the total."""

    score: News2
    used: tuple[Reading, ...]
    fresh: int
    stale: bool

    @property
    def newest(self) -> Reading:
        """The reading that completed the picture."""
        return max(self.used, key=lambda reading: reading.at)


_DIRECT = ("respiratory_rate", "spo2", "systolic_bp", "heart_rate", "temperature")


def assess(readings: Readings, as_of: datetime, age: float | None, valid: timedelta, scale: Literal[1, 2] = 1) -> Assessed | None:
    """The score at `as_of` from the newest value of each parameter; None without any, and under 16 years."""
    if age is not None and age < YOUNGEST:
        return None
    newest = {name: _newest(readings.get(name, ()), as_of - 2 * valid) for name in _DIRECT}
    oxygen, on_oxygen = _oxygen(readings, as_of - 2 * valid)
    mind, not_alert = _mind(readings, as_of - 2 * valid)
    value = {name: reading.value if reading else None for name, reading in newest.items()}
    found = score(
        Observed(
            respiration=value["respiratory_rate"],
            spo2=value["spo2"],
            on_oxygen=on_oxygen,
            systolic=value["systolic_bp"],
            pulse=value["heart_rate"],
            not_alert=not_alert,
            temperature=value["temperature"],
        ),
        scale,
    )
    rows = (newest["respiratory_rate"], newest["spo2"], oxygen, newest["systolic_bp"], newest["heart_rate"], mind, newest["temperature"])
    by_parameter = {name: reading for name, reading in zip(PARAMETERS, rows, strict=True) if reading and name in found.points}
    if not by_parameter:
        return None
    fresh = {name for name, reading in by_parameter.items() if reading.at >= as_of - valid}
    stale = any(found.points[name] for name in by_parameter.keys() - fresh)
    return Assessed(found, tuple(by_parameter.values()), len(fresh), stale)


def _newest(readings: Sequence[Reading], since: datetime) -> Reading | None:
    return readings[-1] if readings and readings[-1].at >= since else None


def _oxygen(readings: Readings, since: datetime) -> tuple[Reading | None, bool | None]:
    """The newest word on oxygen: FiO2 above room air, or a flow. Of two at the same moment the one that says oxygen."""
    said = [
        (reading.at, reading.value > limit, reading)
        for name, limit in (("fio2", 21.5), ("oxygen_flow", 0.0))
        if (reading := _newest(readings.get(name, ()), since))
    ]
    if not said:
        return None, None
    _, on_oxygen, reading = max(said, key=lambda one: one[:2])
    return reading, on_oxygen


def _mind(readings: Readings, since: datetime) -> tuple[Reading | None, bool | None]:
    """ACVPU, or the Glasgow coma scale where only that is charted (15 is alert); the newer one, on a tie ACVPU."""
    acvpu, gcs = _newest(readings.get("acvpu", ()), since), _newest(readings.get("gcs", ()), since)
    if acvpu and (not gcs or acvpu.at >= gcs.at):
        return acvpu, acvpu.value > 0
    return (gcs, gcs.value < 15) if gcs else (None, None)
