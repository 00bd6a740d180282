"""The ledger: minutes are moved between studies, never made."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.ledger import Raised, Read, first_come, of_day, order_priority, reordered, shifts_until

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def read(uid: str, ready: float, begun: float, **fields: object) -> Read:
    target = fields.pop("target", 60.0)
    priority = fields.pop("priority", "routine")
    return Read(uid, at(ready), at(begun), at(ready + float(str(target))), priority, **fields)  # type: ignore[arg-type]


def test_the_one_that_was_moved_up_saves_what_the_others_pay() -> None:
    """Three wait; the last to come is read first: by order of coming it would have waited for both others."""
    reads = [read("a", 0, 20), read("b", 1, 30), read("c", 2, 10, moved=True, by_model=True)]
    day = of_day(date(2026, 3, 2), reads, [], lambda moment: moment.date(), at(60))

    assert reordered(reads, first_come) == {"a": at(10), "b": at(20), "c": at(30)}
    assert (day.first_come.moved_up.total, day.first_come.others.total) == (20.0, -20.0)
    assert (day.first_come.others.most_added, day.first_come.moved_up.most_saved) == (10.0, 20.0)
    assert (day.read, day.moved_up, day.moved_up_by_model) == (3, 1, 1)


def test_order_priority_knows_what_was_ordered() -> None:
    """An urgent order goes before an older routine one; a study without a priority before routine."""
    reads = [read("routine", 0, 10), read("none", 1, 20, priority=None), read("stat", 2, 30, priority="stat")]

    assert reordered(reads, order_priority) == {"stat": at(10), "none": at(20), "routine": at(30)}


def test_late_is_after_the_orders_own_target() -> None:
    """Counted as it was, and as it would have been."""
    reads = [read("a", 0, 20, target=15), read("b", 0.5, 10, target=100)]
    day = of_day(date(2026, 3, 2), reads, [], lambda moment: moment.date(), at(60))

    assert (day.late, day.first_come.late) == (1, 0)


def test_a_day_without_reads_has_no_waits() -> None:
    """Others only waited on it; its alerts count."""
    day = of_day(date(2026, 3, 1), [read("a", 0, 10)], [Raised(at(-1440), False, None)], lambda moment: moment.date(), at(60))
    assert (day.read, day.late, day.wait_mean, day.wait_median, day.wait_longest) == (0, 0, None, None, None)
    assert (day.first_come.others.studies, day.alerts.raised) == (0, 1)


@pytest.mark.parametrize(
    ("starts", "minutes", "shifts"),
    [
        ([7, 15, 23], 1440, 3.0),
        ([7, 15, 23], 8 * 60, 1.0),
        ([7, 15, 23], 19 * 60, 7 / 8 + 1.5),
        ([7, 15, 23], 5, 1.0),
        ([8, 20], 1440, 2.0),
        ([8, 20], 14 * 60, 8 / 12 + 6 / 12),
        ([7, 19, 7], 1440, 2.0),
        ([0], 1440, 1.0),
        ([9], 1440, 1.0),
    ],
)
def test_shifts_that_a_day_has_had(starts: list[int], minutes: float, shifts: float) -> None:
    """Of the night's only the part after midnight; whatever the hours, a whole day has as many as begin on it."""
    assert shifts_until(minutes, map(time, starts)) == pytest.approx(shifts)


def test_alerts_are_judged_by_readers() -> None:
    """The muted woke nobody; those nobody judged say nothing of the predictive value."""
    raised = [Raised(at(n), False, said) for n, said in enumerate((True, True, False, None))] + [Raised(at(9), True, None)]
    day = of_day(date(2026, 3, 2), [read("a", 0, 10)], [*raised, Raised(at(-2000), False, True)], lambda moment: moment.date(), at(60))

    assert (day.alerts.raised, day.alerts.muted, day.alerts.confirmed, day.alerts.refuted) == (4, 1, 2, 1)
    assert (day.alerts.ppv, day.alerts.per_shift) == (0.667, 1.33)


gaps = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 300), st.sampled_from(["stat", "urgent", None, "routine"])), max_size=30)


@given(gaps)
@pytest.mark.parametrize("order", [first_come, order_priority])
def test_minutes_are_moved_and_never_made(order: object, drawn: list[tuple[int, int, str | None]]) -> None:
    """Any reads: the other order begins the same number at the same moments, each study after it came; the sum of waits is the same."""
    reads = [read(str(n), ready, ready + wait, priority=priority) for n, (ready, wait, priority) in enumerate(drawn)]
    otherwise = reordered(reads, order)  # type: ignore[arg-type]

    assert sorted(otherwise.values()) == sorted(one.begun_at for one in reads)
    assert all(otherwise[one.study_uid] >= one.ready_at for one in reads)
