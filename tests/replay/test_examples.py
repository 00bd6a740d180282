"""The worked examples of the README: what a test with an event log looks like."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from hypothesis import given, settings

from pipeline.domain.site import Policy
from pipeline.replay.builder import patient
from pipeline.replay.play import play
from pipeline.replay.played import Played
from pipeline.replay.pytest_plugin import Replay
from pipeline.replay.shuffle import Variation, shuffled
from pipeline.replay.small_log import SmallLog


# 1. A log that was recorded or written before, and what the list looked like at some moments.
def test_late_potassium(replay: Replay) -> None:
    """A value counts from when it is known."""
    day = replay("late_lab.rfl")

    day.assert_rank("ACC1").at("10:39").is_below("SOON")
    day.assert_rank("ACC1").at("10:40").is_top(1).because("K 6.8").due_before("10:40")
    print(day.at("10:40"))  # time travel: the list as it was known then


# 2. A small log written by hand, replayed under two policies, one of them kept as a snapshot beside this file.
def test_a_stroke_before_a_stat_fracture(replay: Replay, snapshot_ranking: Callable[..., None]) -> None:
    """The indication outweighs the priority, whatever the site allows for stat."""
    head = patient("P1", age=71).arrives("E", at="10:00").order("ACC1", "CT HEAD", "urgent", indication="suspected stroke")
    head.ct("HEAD", "ACC1", at="10:05").report("ACC1", at="10:20")
    hand = patient("P2", age=30).arrives("E", at="09:55").order("ACC2", "DX HAND", "stat").xray("HAND", "ACC2", at="10:00")

    for policy in (Policy(), Policy(dead_band=timedelta(0))):
        day = replay(head, hand, policy=policy)
        day.assert_rank("ACC1").at("10:05").is_above("ACC2").because("stroke")
        day.assert_not_listed("ACC1", at="10:20")
        day.assert_no_escalation_before("10:05")
    snapshot_ranking(day, at="10:10")


# 3. The same events in other orders, sent twice, with workers that die: the list at the end is the same. And a failure made small.
CORRECTED = SmallLog.of(
    patient("P1").order("ACC1", "CT ABDOMEN", "urgent", at="09:30").ct("ABDOMEN", "ACC1", at="10:00")
    .lab("K", 6.8, at="10:20").corrects("K", 4.2, known_at="10:55"),
    patient("P2").order("ACC2", "DX CHEST", "routine", at="09:00").xray("CHEST", "ACC2", at="09:40"),
)  # fmt: skip


@given(variation=shuffled(CORRECTED))
@settings(max_examples=15, deadline=None)
def test_whatever_the_order(variation: Variation) -> None:
    """Orders before or after their images, values before or after both, twice, and with restarts: the correction counts."""
    variation.play().assert_rank("ACC1").not_because("K 6.8")
    assert variation.play().state_digest == play(CORRECTED).state_digest


def test_a_failing_log_is_made_small(replay: Replay) -> None:
    """From a whole log to the two events without which the reason would not stand there: an image, and the potassium."""

    def check(day: Played) -> None:
        day.assert_rank("ACC1").at("10:40").not_because("K 6.8")

    log = replay.log("late_lab.rfl")
    small = replay.shrink(log, check)

    assert [record.topic for record in small.records] == ["imaging", "labs"]
    print(small)
