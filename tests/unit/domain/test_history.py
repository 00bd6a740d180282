"""Tallies of what a window let go."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from pipeline.domain import history
from pipeline.domain.history import BLOCK, BLOCKS_KEEP, Past

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_half_day_is_counted() -> None:
    """How many, mean, least and greatest, at the middle of the half day; another half day is another tally."""
    readings = [(NOON, 4.0), (NOON + timedelta(hours=3), 6.5), (NOON + timedelta(hours=11), 5.0), (NOON + BLOCK, 7.0)]
    past = history.of(readings)

    assert past is not None
    first, second = past.tallies(NOON + BLOCK)
    assert (first.middle, first.count, round(first.mean, 4), first.low, first.high) == (NOON + BLOCK / 2, 3, 5.1667, 4.0, 6.5)
    assert (second.count, second.mean) == (1, 7.0)


def test_the_order_does_not_matter() -> None:
    """Sums are whole numbers: any order gives the same to the last bit, half days that were forgotten on the way included."""
    rng = random.Random(2)
    readings = [(NOON + timedelta(hours=rng.uniform(0, 120)), rng.uniform(0, 300)) for _ in range(300)]
    expected = history.of(readings)
    for _ in range(20):
        rng.shuffle(readings)
        assert history.of(readings) == expected


def test_it_is_bounded() -> None:
    """However long the stay, so many half days."""
    past = Past(NOON)
    for number in range(500):
        past.add(NOON + number * timedelta(hours=5), 80.0)

    assert len(past.blocks) == BLOCKS_KEEP
    assert len(past.tallies(past.newest)) == BLOCKS_KEEP


def test_what_is_too_old_is_not_told() -> None:
    """Days later nothing of it counts any more; nothing let go is no past."""
    past = history.of([(NOON, 4.0)])

    assert past is not None
    assert past.tallies(NOON + BLOCKS_KEEP * BLOCK) == []
    assert history.of([]) is None


def test_reaches() -> None:
    """A reading later than all that was let go is not in the tallies, nor one of a half day that is forgotten."""
    past = history.of([(NOON, 4.0)])

    assert past is not None
    assert past.reaches(NOON)
    assert past.reaches(NOON - BLOCK)
    assert not past.reaches(NOON + timedelta(seconds=1))
    assert not past.reaches(NOON - BLOCKS_KEEP * BLOCK)
