"""Critical laboratory values: the laboratory's own marks first, then a table of limits: a site's own rows before the shipped ones.

The shipped table is ARUP Laboratories' critical values, CORP-APPEND-0104A revision 34 (2019): there is no universal list, and of those
published it covers most analytes, in the catalogue's units, and states its comparison signs. Where it is silent: creatinine from Main Line
Health, neutrophils from Barnsley NHS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.readings import Reading, Readings

VERSION = "arup-34/1"
YOUNGEST = 16.0
"""The shipped table is for adults; where no row is for a patient's age, only the laboratory's own marks count."""

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


_SPANS = {"ph": 0.25}


def limit(name: str, bound: float, *, high: bool, inclusive: bool) -> Limit:
    """One side of an analyte's row; the pull is full a quarter of the bound beyond it, of pH a quarter of a unit."""
    return Limit(bound, high, inclusive, _SPANS.get(name, bound / 4))


@dataclass(frozen=True, slots=True)
class Row:
    """The limits of an analyte for the ages in years from `from_age` on and under `under_age`."""

    limits: tuple[Limit, ...]
    from_age: float = YOUNGEST
    under_age: float | None = None

    def covers(self, age: float | None) -> bool:
        """An unknown age is an adult's."""
        if age is None:
            return self.under_age is None or self.under_age > YOUNGEST
        return self.from_age <= age and (self.under_age is None or age < self.under_age)


_SHIPPED: dict[str, tuple[str | None, str | None]] = {
    "potassium": ("<3.0", ">6.1"),
    "sodium": ("<120", ">160"),
    "glucose": ("<55", ">450"),
    "calcium": ("<6.0", ">13.0"),
    "ionised_calcium": ("0.78", "1.58"),
    "magnesium": ("<1.0", ">9.0"),
    "phosphate": ("<1.0", ">9.0"),
    "bicarbonate": ("<10", ">40"),
    "ph": ("7.25", "7.6"),
    "pco2": ("20", "60"),
    "po2": ("40", None),
    "haemoglobin": ("7.0", ">21.0"),
    "platelets": ("20", "1000"),
    "wbc": ("2.0", "40"),
    "neutrophils": ("<1.0", None),
    "inr": (None, "5.0"),
    "aptt": (None, "85"),
    "fibrinogen": ("<100", None),
    "troponin_i": (None, "0.30"),
    "creatinine": (None, "5.0"),
}
"""Low and high in the source's notation: "<3.0" and ">6.1" exclude the limit; a bare number includes it, as its copy is to be read."""


def _shipped(name: str, low: str | None, high: str | None) -> tuple[Limit, ...]:
    sides = ((low, False, "<"), (high, True, ">"))
    return tuple(
        limit(name, float(text.lstrip("<>")), high=is_high, inclusive=not text.startswith(sign)) for text, is_high, sign in sides if text
    )


Table = Mapping[str, tuple[Row, ...]]
"""Catalogue name -> its rows, limits in the catalogue's unit; of a name's rows the first that covers the age counts."""

TABLE: Table = {name: (Row(_shipped(name, *sides)),) for name, sides in _SHIPPED.items()}

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


def find(readings: Readings, as_of: datetime, age: float | None, table: Table = TABLE) -> list[Critical]:
    """The critical ones among the newest values of each analyte at `as_of`, in the catalogue's order. An unknown age is an adult's."""
    found = []
    for name, observable in BY_NAME.items():
        series = readings.get(name)
        if observable.kind != "lab" or not series or series[-1].at < as_of - 2 * valid_for(name):
            continue
        limits = next((row.limits for row in table.get(name, ()) if row.covers(age)), ())
        if critical := _critical(name, series[-1], as_of, limits):
            found.append(critical)
    return found


def _critical(name: str, reading: Reading, as_of: datetime, limits: tuple[Limit, ...]) -> Critical | None:
    crossed = next((one for one in limits if one.crossed(reading.value)), None)
    if crossed is None and reading.flag not in CRITICAL_FLAGS:
        return None
    minutes = crossed.minutes(reading.value) if crossed else AT_LIMIT_MINUTES
    return Critical(name, reading, crossed, minutes, stale=reading.at < as_of - valid_for(name))
