"""A source's rhythm: nights are quiet, days are not, and a silence is judged by what was due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.domain.rhythm import LEARN_FOR, group_of, judge, learn

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def laboratory(days: int = 3) -> dict[datetime, int]:
    """60 an hour from 08 to 20 local time, nothing at night."""
    hours = (MONDAY + timedelta(hours=n) for n in range(24 * days))
    return {hour: 60 for hour in hours if 8 <= hour.astimezone(BERLIN).hour < 20}


def silence(last: datetime, now: datetime, days: int = 3) -> tuple[bool, float]:
    """How the laboratory stands whose last message came at `last`."""
    first = MONDAY + timedelta(hours=7)
    judged = judge(learn(laboratory(days), first, last, BERLIN), first, last, now, BERLIN)
    return judged.silent, judged.missed


def test_a_quiet_night_is_no_silence() -> None:
    """From 20:00 to 07:30 local time nothing was due."""
    assert silence(MONDAY + timedelta(days=2, hours=19), MONDAY + timedelta(days=3, hours=6, minutes=30)) == (False, 0.0)


def test_the_same_hours_by_day_are_one() -> None:
    """Fifteen minutes in which fifteen messages were due."""
    last = MONDAY + timedelta(days=2, hours=10)

    assert silence(last, last + timedelta(minutes=5))[0] is False
    silent, missed = silence(last, last + timedelta(minutes=15))
    assert silent
    assert missed == pytest.approx(15)


def test_what_was_missed_counts_from_the_morning_on() -> None:
    """A laboratory that does not come back at eight is noticed a quarter of an hour later, not in the night."""
    last = MONDAY + timedelta(days=2, hours=18, minutes=59)

    assert silence(last, MONDAY + timedelta(days=3, hours=7))[0] is False
    assert silence(last, MONDAY + timedelta(days=3, hours=7, minutes=15))[0] is True


def test_a_fast_source_is_not_called_silent_between_bursts() -> None:
    """Two minutes are the least, whatever the rate."""
    hours = {MONDAY + timedelta(hours=n): 36_000 for n in range(48)}
    first, last = MONDAY, MONDAY + timedelta(hours=47)
    rhythm = learn(hours, first, last, BERLIN)

    assert not judge(rhythm, first, last, last + timedelta(seconds=60), BERLIN).silent
    assert judge(rhythm, first, last, last + timedelta(seconds=130), BERLIN).silent


def test_a_young_source_is_not_judged() -> None:
    """It is still being learned."""
    last = MONDAY + LEARN_FOR - timedelta(minutes=1)
    judged = judge(learn({MONDAY: 10_000}, MONDAY, last, BERLIN), MONDAY, last, last + timedelta(days=1), BERLIN)

    assert (judged.silent, judged.learning) == (False, True)


def test_monitors_that_differ_by_number_are_one_source() -> None:
    """And a record number is no name."""
    assert group_of("MON529622|SIMHOSP") == group_of("MON529623|SIMHOSP") == "MON#|SIMHOSP"
    assert group_of("LAB2|MAIN") == "LAB2|MAIN"
