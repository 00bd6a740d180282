"""A failing log is reduced to what makes it fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replay.builder import patient
from pipeline.replay.shrink import fewest, shrink
from pipeline.replay.small_log import SmallLog
from pipeline.replay.times import WrittenWrong


@given(st.sets(st.integers(0, 40), min_size=1, max_size=4))
def test_exactly_what_is_needed_stays_in_order(needed: set[int]) -> None:
    """Whatever the needed items, and however they lie."""
    assert fewest(range(41), lambda kept: needed <= set(kept)) == sorted(needed)


def test_other_patients_go_first_then_events() -> None:
    """Ten patients, one of them with a correction that matters together with its order."""
    others = [patient(f"P{n}").order(f"A{n}", "CT HEAD", at="09:00").ct("HEAD", f"A{n}", at="09:10") for n in range(9)]
    story = (
        patient("X")
        .order("AX", "CT HEAD", at="09:00")
        .ct("HEAD", "AX", at="09:30")
        .lab("K", 7, at="09:31")
        .corrects("K", 4, known_at="10:00")
    )
    log = SmallLog.of(*others, story)
    asked: list[int] = []

    def fails(part: SmallLog) -> bool:
        asked.append(len(part.records))
        said = [record.value or b"" for record in part.records]
        return any(b'"corrected"' in body for body in said) and any(b'"order/1"' in body and story.key.encode() in body for body in said)

    small = shrink(log, fails)

    assert [record.topic for record in small.records] == ["orders", "labs"]
    assert all(record.key == story.key.encode() for record in small.records)
    assert [record.offset for record in small.records] == [0, 0]
    assert len(asked) < 40


def test_a_log_that_does_not_fail_is_no_case() -> None:
    """Instead of an empty log."""
    with pytest.raises(WrittenWrong, match="does not fail"):
        shrink(SmallLog.of(patient("P1").leaves(at="10:00")), lambda _: False)
