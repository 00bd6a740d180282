"""Every code that means a priority, in one table: HL7 0485 and 0027, DICOM (0040,1003), UPS (0074,1200), FHIR request-priority."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from schemas.codes import RequestPriority

ORDER: tuple[RequestPriority, ...] = ("stat", "asap", "urgent", "routine")
"""Most urgent first. In FHIR asap stands above urgent."""

# level: (HL7 0485/0027, DICOM (0040,1003), UPS (0074,1200), FHIR); the mappings of dcm4chee's hl7-order2dcm and of the CDC's v2-to-FHIR,
# with P, C and T, which FHIR has no word for, as urgent. DICOM does not say whether MEDIUM is above ROUTINE: see from_dicom.
_TABLE: dict[RequestPriority, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "stat": (("S", "STAT"), ("STAT",), ("HIGH",), ("stat",)),
    "asap": (("A", "ASAP"), ("HIGH",), (), ("asap",)),
    "urgent": (("P", "C", "T", "U", "URGENT"), ("MEDIUM",), ("MEDIUM",), ("urgent",)),
    "routine": (("R", "PRN", "ROUTINE"), ("ROUTINE", "LOW"), ("LOW",), ("routine",)),
}
_HL7, _DICOM, _UPS, _FHIR = ({code: level for level, row in _TABLE.items() for code in row[column]} for column in range(4))

_TIMED = re.compile(r"T([SMHDWL])(\d{1,7})")
_UNIT = {
    "S": timedelta(seconds=1),
    "M": timedelta(minutes=1),
    "H": timedelta(hours=1),
    "D": timedelta(days=1),
    "W": timedelta(weeks=1),
    "L": timedelta(days=30),  # months
}
_LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Priority:
    """A priority as it was understood. within: the time the code itself allows from the request on ("TM30").

    quality: why level is None: the field was empty, or the code is in no table (tolerated, counted, never guessed).
    """

    level: RequestPriority | None
    within: timedelta | None = None
    quality: Literal["missing", "unknown-code"] | None = None


MISSING = Priority(None, quality="missing")
UNKNOWN = Priority(None, quality="unknown-code")


def from_hl7(code: str | None) -> Priority:
    """OBR-5, OBR-27.6, ORC-7.6 or TQ1-9 (table 0485), with repetitions: of several the most urgent, and the shortest time."""
    found = [_one_hl7(part.partition("^")[0].strip().upper()) for part in (code or "").split("~")]
    levels = [one.level for one in found if one.level]
    times = [one.within for one in found if one.within is not None]
    if levels:
        return Priority(min(levels, key=ORDER.index), min(times, default=None))
    return UNKNOWN if UNKNOWN in found else MISSING


def _one_hl7(code: str) -> Priority:
    if timed := _TIMED.fullmatch(code):
        within = int(timed[2]) * _UNIT[timed[1]]
        return Priority("urgent", within) if within <= _LONGEST else UNKNOWN
    return _look_up(_HL7, code)


def from_dicom(value: str | None, medium: RequestPriority = "urgent") -> Priority:
    """(0040,1003) Requested Procedure Priority: defined terms, so others may occur. medium: what this site means by MEDIUM."""
    code = (value or "").strip(" \0").upper()
    return Priority(medium) if code == "MEDIUM" else _look_up(_DICOM, code)


def from_ups(value: str | None) -> Priority:
    """(0074,1200) Scheduled Procedure Step Priority: HIGH is "equivalent to a STAT request" (PS3.3 C.30.2)."""
    return _look_up(_UPS, (value or "").strip(" \0").upper())


def from_fhir(code: str | None) -> Priority:
    """http://hl7.org/fhir/request-priority."""
    return _look_up(_FHIR, (code or "").strip().lower())


def _look_up(table: dict[str, RequestPriority], code: str) -> Priority:
    if not code:
        return MISSING
    return Priority(table[code]) if code in table else UNKNOWN
