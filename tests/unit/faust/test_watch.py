"""When a partition stands still."""

from __future__ import annotations

from faust.types import TP

from pipeline.adapters.faust.watch import Standstill

ONE, TWO = TP("labs", 0), TP("labs", 1)


def test_lag_without_progress_for_too_long_is_a_standstill() -> None:
    """And only of the partition that has it."""
    standstill = Standstill(60)
    assert standstill.seen(0, {ONE: 5, TWO: 5}, {ONE: 9, TWO: 5}) == []
    assert standstill.seen(60, {ONE: 5, TWO: 5}, {ONE: 12, TWO: 5}) == []
    assert standstill.seen(61, {ONE: 5, TWO: 5}, {ONE: 12, TWO: 5}) == [ONE]


def test_progress_however_slow_is_none() -> None:
    """One record a minute is progress."""
    standstill = Standstill(60)
    assert [standstill.seen(now, {ONE: now // 50}, {ONE: 1000}) for now in range(0, 1000, 10)] == [[]] * 100


def test_to_be_idle_is_none() -> None:
    """Nothing to do for hours, then a record: its time begins when it is there."""
    standstill = Standstill(60)
    assert standstill.seen(0, {ONE: 5}, {ONE: 5}) == []
    assert standstill.seen(7200, {ONE: 5}, {ONE: 5}) == []
    assert standstill.seen(7210, {ONE: 5}, {ONE: 6}) == []
    assert standstill.seen(7260, {ONE: 5}, {ONE: 6}) == []
    assert standstill.seen(7261, {ONE: 5}, {ONE: 6}) == [ONE]


def test_a_partition_that_was_away_begins_anew() -> None:
    """What another worker has or had is not this one's standstill."""
    standstill = Standstill(60)
    standstill.seen(0, {ONE: 5}, {ONE: 9})
    standstill.seen(50, {}, {})
    assert standstill.seen(70, {ONE: 5}, {ONE: 9}) == []


def test_what_waits_for_a_long_batch_stands_not_still() -> None:
    """As long as parts of it are done: films of other partitions, and what came after."""
    standstill = Standstill(60)
    assert [standstill.seen(now, {ONE: 5, TWO: 5}, {ONE: 9, TWO: 9}, partly_at=now - 20) for now in range(0, 300, 10)] == [[]] * 30
    assert standstill.seen(335, {ONE: 5, TWO: 6}, {ONE: 9, TWO: 9}, partly_at=270) == [ONE]
