"""Moments as HL7, DICOM and FHIR write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.timestamps import from_dicom, from_fhir, from_hl7, without_clock

BERLIN = ZoneInfo("Europe/Berlin")
RECEIVED = datetime(2026, 11, 24, 12, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "moment", "precision", "zone"),
    [
        ("2026", utc(2025, 12, 31, 23), "year", "source"),
        ("202607", utc(2026, 6, 30, 22), "month", "source"),
        ("20260701", utc(2026, 6, 30, 22), "day", "source"),
        ("2026070114", utc(2026, 7, 1, 12), "hour", "source"),
        ("202607011430", utc(2026, 7, 1, 12, 30), "minute", "source"),
        ("20260701143015", utc(2026, 7, 1, 12, 30, 15), "second", "source"),
        ("20260701143015.1234", utc(2026, 7, 1, 12, 30, 15, 123400), "microsecond", "source"),
        ("20260701143015+0530", utc(2026, 7, 1, 9, 0, 15), "second", "explicit"),
        ("20260701-0500", utc(2026, 7, 1, 5), "day", "explicit"),
        ("202607012400", utc(2026, 7, 1, 22), "minute", "source"),
        ("20260701235960", utc(2026, 7, 1, 22), "second", "source"),
    ],
)
def test_hl7_keeps_precision_and_origin_of_the_zone(text: str, moment: datetime, precision: str, zone: str) -> None:
    """Every precision of TS is read in the source's zone, unless the message carries an offset; the original stays."""
    stamp = from_hl7(text, BERLIN, RECEIVED)
    assert (stamp.utc, stamp.precision, stamp.zone, stamp.original) == (moment, precision, zone, text)


def test_the_hour_that_occurs_twice_is_the_earlier_one_and_says_so() -> None:
    """DST fold: 02:30 on the last Sunday of October is 00:30 UTC, marked assumed-fold."""
    stamp = from_hl7("202610250230", BERLIN, RECEIVED)
    assert (stamp.utc, stamp.zone) == (utc(2026, 10, 25, 0, 30), "assumed-fold")
    assert from_hl7("202610250330", BERLIN, RECEIVED).zone == "source"


def test_a_local_time_that_does_not_exist_moves_on_by_the_skipped_hour() -> None:
    """DST gap: 02:30 on the last Sunday of March is what the clock calls 03:30."""
    stamp = from_hl7("202603290230", BERLIN, RECEIVED)
    assert (stamp.utc, stamp.zone) == (utc(2026, 3, 29, 1, 30), "source")


@pytest.mark.parametrize(
    "text", ["", None, '""', "yesterday", "20261399", "00000000", "18491231", "20291124", "2026070125", "20260701+9900", "١٩٨٠"]
)
def test_what_is_no_time_is_missing_and_keeps_the_original(text: str | None) -> None:
    """Absurd or unreadable: the time of receipt stands in, precision missing."""
    stamp = from_hl7(text, BERLIN, RECEIVED)
    assert (stamp.utc, stamp.precision, stamp.zone, stamp.original) == (RECEIVED, "missing", "received", text or None)


@pytest.mark.parametrize(
    ("date", "time", "offset", "moment", "precision", "zone"),
    [
        ("20260701", "143015.5", None, utc(2026, 7, 1, 12, 30, 15, 500000), "microsecond", "source"),
        ("20260701", "1430", "-0500", utc(2026, 7, 1, 19, 30), "minute", "explicit"),
        ("2026.07.01", "14:30:15", None, utc(2026, 7, 1, 12, 30, 15), "second", "source"),
        ("20260701", None, None, utc(2026, 6, 30, 22), "day", "source"),
        ("20260701143015.000000+0200", None, None, utc(2026, 7, 1, 12, 30, 15), "microsecond", "explicit"),
        ("20260701 ", "1430\0", None, utc(2026, 7, 1, 12, 30), "minute", "source"),
        (None, "143015", None, RECEIVED, "missing", "received"),
        ("", "", "", RECEIVED, "missing", "received"),
    ],
)
def test_dicom_date_and_time(date: str | None, time: str | None, offset: str | None, moment: datetime, precision: str, zone: str) -> None:
    """DA with TM (also as ACR-NEMA wrote them), Timezone Offset From UTC, and DT alone."""
    stamp = from_dicom(date, time, offset, BERLIN, RECEIVED)
    assert (stamp.utc, stamp.precision, stamp.zone) == (moment, precision, zone)


@pytest.mark.parametrize(
    ("text", "moment", "precision", "zone"),
    [
        ("2026-07-01T14:30:15+02:00", utc(2026, 7, 1, 12, 30, 15), "second", "explicit"),
        ("2026-07-01T12:30:15.123Z", utc(2026, 7, 1, 12, 30, 15, 123000), "microsecond", "explicit"),
        ("2026-07-01T14:30:15", utc(2026, 7, 1, 12, 30, 15), "second", "source"),
        ("2026-07-01", utc(2026, 6, 30, 22), "day", "source"),
        ("2026-07", utc(2026, 6, 30, 22), "month", "source"),
        ("01.07.2026", RECEIVED, "missing", "received"),
    ],
)
def test_fhir_datetime(text: str, moment: datetime, precision: str, zone: str) -> None:
    """FHIR date and dateTime at every precision."""
    stamp = from_fhir(text, BERLIN, RECEIVED)
    assert (stamp.utc, stamp.precision, stamp.zone) == (moment, precision, zone)


@given(st.text(max_size=40) | st.from_regex(r"\d{4,14}(\.\d+)?([+-]\d{4})?", fullmatch=True), st.text(max_size=20))
def test_nothing_written_as_a_time_can_raise(text: str, more: str) -> None:
    """Any text is a Timestamp in UTC within the bounds that the window believes."""
    for stamp in (from_hl7(text, BERLIN, RECEIVED), from_dicom(text, more, more, BERLIN, RECEIVED), from_fhir(text, BERLIN, RECEIVED)):
        assert stamp.utc.utcoffset() == timedelta()
        assert stamp.utc.year >= 1850 and stamp.utc <= RECEIVED + timedelta(days=732)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20260301", "2026-03-01"),
        ("202603", "2026-03"),
        ("2026", "2026"),
        ("20260301+0100", "2026-03-01"),
        ("2026030109", None),
        ("soon", "unknown time"),
    ],
)
def test_a_date_is_told_as_the_source_wrote_it(text: str, words: str | None) -> None:
    """In UTC the start of a day in Berlin is of the day before."""
    assert without_clock(from_hl7(text, BERLIN, RECEIVED)) == words
