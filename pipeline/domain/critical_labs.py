"""Critical laboratory values: the laboratory's own marks first, then a versioned table of limits for adults.

The table is ARUP Laboratories' critical values, CORP-APPEND-0104A revision 34 (2019): there is no universal list, and of those
published it covers most analytes, in the catalogue's units, and states its comparison signs. Where it is silent: creatinine from Main Line
Health, neutrophils from Barnsley NHS.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.readings import Reading, Readings

VERSION = "arup-34/1"
YOUNGEST = 16.0
"""The table is for adults; under this age only the laboratory's own marks count."""

CRITICAL_FLAGS = frozenset({"LL", "HH", "AA"})
"""HL7 table 0078: below lower panic limit, above upper panic limit, very abnormal."""

AT_LIMIT_MINUTES = 30.0
"""Laboratories report a critical value within 30 minutes; the study should not wait longer."""

FAR_BEYOND_MINUTES = 15.0


@dataclass(frozen=True, slots=True)
class Limit:
    """One side of an analyte's table row. inclusive: the limit itself is critical. span: distance beyond it at which the pull is full."""

    bound: float
    high: bool
    inclusive: bool
    span: float

    def crossed(self, value: float) -> bool:
        """Whether `value`, in the catalogue's unit, is critical."""
        beyond = self.beyond(value)
        return beyond > 0 or (self.inclusive and beyond == 0)

    def beyond(self, value: float) -> float:
        """Distance past the bound, negative on the safe side."""
        return value - self.bound if self.high else self.bound - value

    def minutes(self, value: float) -> float:
        """From 30 at the limit down to 15 far beyond it, continuous in the value."""
        share = min(max(self.beyond(value) / self.span, 0.0), 1.0)
        return float(AT_LIMIT_MINUTES * (FAR_BEYOND_MINUTES / AT_LIMIT_MINUTES) ** share)

    @property
    def words(self) -> str:
        """ "above 6.1" or "6.1 or above"."""
        side = "above" if self.high else "below"
        return f"{self.bound:g} or {side}" if self.inclusive else f"{side} {self.bound:g}"

    @property
    def safe_words(self) -> str:
        """Where the value has to go so that this is no longer critical."""
        side = "below" if self.high else "above"
        return f"{side} {self.bound:g}" if self.inclusive else f"{self.bound:g} or {side}"


def _limits(low: str | None, high: str | None, span: float | None = None) -> tuple[Limit, ...]:
    """Reads the table's notation: "<3.0" and ">6.1" exclude the limit; a bare number includes it, as the source's copy is to be read."""
    sides = ((low, False, "<"), (high, True, ">"))
    return tuple(
        Limit(bound := float(text.lstrip("<>")), is_high, not text.startswith(sign), span or bound / 4)
        for text, is_high, sign in sides
        if text
    )


LIMITS: dict[str, tuple[Limit, ...]] = {
    "potassium": _limits("<3.0", ">6.1"),
    "sodium": _limits("<120", ">160"),
    "glucose": _limits("<55", ">450"),
    "calcium": _limits("<6.0", ">13.0"),
    "ionised_calcium": _limits("0.78", "1.58"),
    "magnesium": _limits("<1.0", ">9.0"),
    "phosphate": _limits("<1.0", ">9.0"),
    "bicarbonate": _limits("<10", ">40"),
    "ph": _limits("7.25", "7.6", span=0.25),
    "pco2": _limits("20", "60"),
    "po2": _limits("40", None),
    "haemoglobin": _limits("7.0", ">21.0"),
    "platelets": _limits("20", "1000"),
    "wbc": _limits("2.0", "40"),
    "neutrophils": _limits("<1.0", None),
    "inr": _limits(None, "5.0"),
    "aptt": _limits(None, "85"),
    "fibrinogen": _limits("<100", None),
    "troponin_i": _limits(None, "0.30"),
    "creatinine": _limits(None, "5.0"),
}
"""Catalogue name -> limits in the catalogue's unit."""

VALID: dict[str, timedelta] = {
    **dict.fromkeys(("ph", "pco2", "po2"), timedelta(hours=6)),
    **dict.fromkeys(("potassium", "sodium", "glucose", "ionised_calcium", "lactate"), timedelta(hours=12)),
}
DEFAULT_VALID = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Critical:
    """A current critical value. limit None: critical by the laboratory's own mark alone."""

    name: str
    reading: Reading
    limit: Limit | None
    minutes: float
    stale: bool


def valid_for(name: str) -> timedelta:
    """How long a result speaks for the patient; it is stale after that and unknown after twice that."""
    return VALID.get(name, DEFAULT_VALID)


def find(readings: Readings, as_of: datetime, age: float | None) -> list[Critical]:
    """The critical ones among the newest values of each analyte at `as_of`, in the catalogue's order. An unknown age is an adult's."""
    adult = age is None or age >= YOUNGEST
    found = []
    for name, observable in BY_NAME.items():
        series = readings.get(name)
        if observable.kind != "lab" or not series or series[-1].at < as_of - 2 * valid_for(name):
            continue
        if critical := _critical(name, series[-1], as_of, adult):
            found.append(critical)
    return found


def _critical(name: str, reading: Reading, as_of: datetime, adult: bool) -> Critical | None:
    limit = next((limit for limit in LIMITS.get(name, ()) if limit.crossed(reading.value)), None) if adult else None
    if limit is None and reading.flag not in CRITICAL_FLAGS:
        return None
    minutes = limit.minutes(reading.value) if limit else AT_LIMIT_MINUTES
    return Critical(name, reading, limit, minutes, stale=reading.at < as_of - valid_for(name))
