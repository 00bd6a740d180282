"""A recorded day under other rules: minutes are moved between studies, never made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.what_if import Change, begin, compare

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def change(study: str, minutes: float, due: float, closed: str | None = None) -> Change:
    return Change(at(minutes), study, at(due), closed, "routine", "CT HEAD")


def test_other_rules_read_another_study_first() -> None:
    """Two studies, two moments of reading: under the other rules the second is due first."""
    listed = [change("a", 0, 60), change("b", 5, 240)]
    ends = [change("a", 20, 60, "reported"), change("b", 40, 240, "reported")]
    found = compare([*listed, *ends], [listed[0], change("b", 5, 30), *ends])
    (routine,) = found.classes.values()

    assert {one.study: one.minutes for one in found.moved} == {"a": -20.0, "b": 20.0}
    assert (routine.mean_now, routine.mean_then) == pytest.approx((27.5, 27.5))
    assert (routine.more, routine.less) == (1, 1)


def test_a_deadline_counts_from_when_it_is_known() -> None:
    """The danger is known only after the first moment of reading: then the other study has been taken."""
    listed = {"a": [change("a", 0, 60)], "b": [change("b", 0, 240), change("b", 25, 10)]}

    assert begin(listed, [at(20), at(40)]) == {"a": at(20), "b": at(40)}


def test_what_was_not_reported_is_not_compared() -> None:
    """Cancelled and open studies took no reader's time that the log knows of."""
    listed = [change("a", 0, 60), change("b", 0, 60), change("c", 0, 60)]
    found = compare([*listed, change("a", 9, 60, "reported"), change("b", 9, 60, "cancelled")], listed)

    assert (found.studies, found.moments) == (1, 1)


days = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 100), st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=12)


@given(days)
def test_the_sum_of_waits_is_the_same(drawn: list[tuple[int, int, int, int]]) -> None:
    """Whatever the rules, each moment is used once."""
    now, then = [], []
    for n, (ready, wait, due, other) in enumerate(drawn):
        now += [change(str(n), ready, due), change(str(n), ready + wait, due, "reported")]
        then += [change(str(n), ready, other), change(str(n), ready + wait, other, "reported")]
    found = compare(sorted(now, key=lambda one: one.at), sorted(then, key=lambda one: one.at))

    assert sum(one.minutes for one in found.moved) == pytest.approx(0)
