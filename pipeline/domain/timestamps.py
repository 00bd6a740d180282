"""From the way HL7 v2, DICOM and FHIR write a moment to a Timestamp; garbage becomes a missing time that keeps what was written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from schemas.time import Precision, Timestamp, ZoneOrigin

EARLIEST_YEAR = 1850
FUTURE = timedelta(days=731)
ORIGINAL_MAX = 64
"""Longest `original` kept, characters: what is longer was never a time."""

_HL7 = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d{2})(?:(?P<day>\d{2})(?:(?P<hour>\d{2})(?:(?P<minute>\d{2})(?:(?P<second>\d{2})"
    r"(?:\.(?P<fraction>\d{1,9}))?)?)?)?)?)?(?P<offset>[+-]\d{4}|Z)?",
    re.ASCII,
)
_FHIR = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})(?:T(?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})"
    r"(?:\.(?P<fraction>\d{1,12}))?)?(?P<offset>[+-]\d{2}:\d{2}|Z)?)?)?)?",
    re.ASCII,
)
_PARTS: tuple[tuple[str, Precision], ...] = (
    ("fraction", "microsecond"),
    ("second", "second"),
    ("minute", "minute"),
    ("hour", "hour"),
    ("day", "day"),
    ("month", "month"),
)


@lru_cache(maxsize=256)  # one message says the same moment in many places
def from_hl7(text: str | None, zone: ZoneInfo, received: datetime) -> Timestamp:
    """An HL7 TS or DTM, `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]` (v2.8 section 2.A.22); `zone` where it has no offset."""
    written = (text or "").strip()
    return _timestamp(_HL7.fullmatch(written), written, zone, received)


def from_dicom(date: str | None, time: str | None, offset: str | None, zone: ZoneInfo, received: datetime) -> Timestamp:
    """A DA with its TM and Timezone Offset From UTC (0008,0201), or a DT alone as `date` (PS3.5 section 6.2)."""
    written = " ".join(part for part in (str(date or "").strip(" \0"), str(time or "").strip(" \0")) if part)
    plain_date = str(date or "").strip(" \0").replace(".", "" if not _is_dt(date) else ".")
    plain_time = str(time or "").strip(" \0").replace(":", "")
    match = _HL7.fullmatch(plain_date + (plain_time if plain_date else ""))
    return _timestamp(match, written, _offset(str(offset or "").strip(" \0")) or zone, received)


def from_fhir(text: str | None, zone: ZoneInfo, received: datetime) -> Timestamp:
    """A FHIR date, dateTime or instant; a time without offset, which R4 forbids, is read in `zone`."""
    written = (text or "").strip()
    return _timestamp(_FHIR.fullmatch(written), written, zone, received)


def missing(received: datetime, original: str | None = None) -> Timestamp:
    """No usable time: the time of receipt stands in."""
    return Timestamp(received.astimezone(UTC), original[:ORIGINAL_MAX] if original else None, "missing", "received")


def without_clock(stamp: Timestamp) -> str | None:
    """The date alone ("2026-03-01", "2026-03", "2026") or "unknown time", where the source told no time of day; None where it did.

    As the source wrote it: `utc` may be of the day before.
    """
    length = _DIGITS.get(stamp.precision)
    if length is None:
        return "unknown time" if stamp.precision == "missing" else None
    written = "".join(filter(str.isdigit, stamp.original or f"{stamp.utc:%Y%m%d}"))[:length]
    return "-".join(part for part in (written[:4], written[4:6], written[6:]) if part)


_DIGITS: dict[Precision, int] = {"day": 8, "month": 6, "year": 4}


def _is_dt(date: object) -> bool:
    return len(str(date or "").strip(" \0")) > len("YYYY.MM.DD")


def _timestamp(match: re.Match[str] | None, original: str, zone: tzinfo, received: datetime) -> Timestamp:
    if match is None:
        return missing(received, original)
    try:
        local = _local(match)
        utc, origin = _to_utc(local, _offset(match["offset"]), zone)
    except (ValueError, OverflowError):
        return missing(received, original)
    if utc.year < EARLIEST_YEAR or utc > received + FUTURE:
        return missing(received, original)
    return Timestamp(utc, original, _precision(match), origin)


def _precision(match: re.Match[str]) -> Precision:
    return next((precision for part, precision in _PARTS if match[part] is not None), "year")


def _local(match: re.Match[str]) -> datetime:
    """The wall clock as written. A leap second is the second after :59; 2400 is the start of the next day, as many senders write it."""
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    microsecond = int((match["fraction"] or "0")[:6].ljust(6, "0"))
    extra = timedelta()
    if second == 60:
        second, extra = 59, timedelta(seconds=1)
    if (hour, minute, second) == (24, 0, 0):
        hour, extra = 0, timedelta(days=1)
    written = datetime(int(match["year"]), int(match["month"] or 1), int(match["day"] or 1), hour, minute, second, microsecond)  # noqa: DTZ001
    return written + extra


def _offset(text: str | None) -> timezone | None:
    """Raises ValueError beyond the offsets that exist on Earth (-12:00 to +14:00)."""
    if not text:
        return None
    if text == "Z":
        return UTC
    match = re.fullmatch(r"([+-])(\d{2}):?([0-5]\d)", text, re.ASCII)
    if match is None:
        return None
    minutes = (int(match[2]) * 60 + int(match[3])) * (-1 if match[1] == "-" else 1)
    if not -12 * 60 <= minutes <= 14 * 60:
        raise ValueError(f"offset {text}")
    return timezone(timedelta(minutes=minutes))


def _to_utc(local: datetime, offset: timezone | None, zone: tzinfo) -> tuple[datetime, ZoneOrigin]:
    """fold=0 takes the earlier of two equal local times, and moves one that summer time skips on by the hour skipped (PEP 495)."""
    if offset is not None:
        return local.replace(tzinfo=offset).astimezone(UTC), "explicit"
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if isinstance(zone, timezone):
        return first, "explicit"
    second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # In a gap the two differ as well, but the other way round.
    return first, "assumed-fold" if second > first else "source"
