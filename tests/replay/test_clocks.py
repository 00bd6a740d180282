"""The clocks beside the order's, from the event to the list: a stroke's time from the door, and a visit to a clinic."""

from __future__ import annotations

from pipeline.replay.builder import patient
from pipeline.replay.pytest_plugin import Replay


def test_a_stroke_is_due_45_minutes_after_the_door(replay: Replay) -> None:
    """Images at 10:35 would have twenty minutes for a suspected stroke; the patient has been here since 10:00."""
    stroke = (
        patient("P1", age=71).arrives("E", "ED", at="10:00").order("ACC1", "CT HEAD", "urgent", indication="suspected stroke", at="10:20")
    )
    day = replay(stroke.ct("HEAD", "ACC1", at="10:35").moves("ICU", "I", at="10:40"))

    day.assert_rank("ACC1").at("10:36").because("door 10:00Z").due_before("10:45").due_after("10:44")
    day.assert_rank("ACC1").at("10:41").because("door 10:00Z").due_before("10:45")


def test_a_door_that_becomes_known_late_counts(replay: Replay) -> None:
    """Registered after the scan: the study moves up when we learn of it, and not before."""
    stroke = patient("P1").order("ACC1", "CT HEAD", "urgent", indication="stroke?", at="10:20").ct("HEAD", "ACC1", at="10:35")
    day = replay(stroke.arrives("E", at="10:00", known_at="10:38"))

    day.assert_rank("ACC1").at("10:37").due_after("10:54").not_because("door")
    day.assert_rank("ACC1").at("10:38").due_before("10:45").because("door 10:00Z")


def test_a_study_is_due_before_the_visit_as_long_as_it_is_booked(replay: Replay) -> None:
    """Booked, moved and cancelled: the study goes up, on, and back to what its order asks for."""
    story = patient("P1", age=60).arrives("O", at="08:00").order("ACC1", "CT CHEST", "routine").ct("CHEST", "ACC1", at="09:00")
    story.is_booked("11:00", at="09:10").is_booked("15:00", at="09:20").is_not_booked(at="09:30")
    other = patient("P2", age=60).order("ACC2", "DX HAND", "urgent", at="08:00").xray("HAND", "ACC2", at="08:30")
    day = replay(story, other)

    day.assert_rank("ACC1").at("09:05").is_below("ACC2").not_because("clinic")
    day.assert_rank("ACC1").at("09:10").is_top(1).because("clinic appointment").due_before("10:30").due_after("10:29")
    day.assert_rank("ACC1").at("09:20").because("clinic appointment").due_before("14:30").due_after("14:29")
    day.assert_rank("ACC1").at("09:30").is_below("ACC2").not_because("clinic").due_after("14:30")


def test_a_visit_about_one_order_moves_its_study_alone(replay: Replay) -> None:
    """And one before the images moves none: it was perhaps for them."""
    story = patient("P1", age=60).arrives("O", at="08:00").order("ACC1", "CT CHEST", "routine").ct("CHEST", "ACC1", at="09:00")
    story.order("ACC2", "MR HEAD", "routine").mr("HEAD", "ACC2", at="09:00").is_booked("11:00", accession="ACC1", at="09:10")
    day = replay(story.is_booked("08:55", "scan", at="08:10", known_at="09:15"))

    day.assert_rank("ACC1").at("09:20").is_top(1).because("clinic appointment")
    day.assert_rank("ACC2").at("09:20").not_because("clinic")
