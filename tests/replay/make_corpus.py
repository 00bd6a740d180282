"""Writes the logs of this folder: python -m tests.replay.make_corpus. Each is a trap that has caught real systems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.replay.builder import Patient, patient, unknown
from pipeline.replay.small_log import SmallLog

FOLDER = Path(__file__).parent
NIGHT = {"on": "2026-10-25", "zone": "Europe/Berlin"}
"""Summer time ends: the hour from 02:00 to 03:00 occurs twice."""


def neighbours() -> tuple[Patient, Patient]:
    """Two studies that wait meanwhile, so that a rank means something: SOON is due at 11:00, LATER in the evening."""
    soon = patient("N1", age=50).arrives("E", at="09:00").order("SOON", "CT THORAX", "stat", at="09:50").ct("THORAX", "SOON", at="10:15")
    later = patient("N2", age=40).arrives("I", at="08:00").order("LATER", "MR KNEE", "urgent", at="09:00").mr("KNEE", "LATER", at="09:30")
    return soon, later


def abdomen(name: str = "P1", accession: str = "ACC1") -> Patient:
    """An urgent CT of an inpatient, due in the evening by its order alone."""
    story = patient(name, age=67, sex="M").arrives("I", at="09:00").order(accession, "CT ABDOMEN", "urgent", indication="pain", at="09:30")
    return story.ct("ABDOMEN", accession, at="10:00")


def late_lab() -> SmallLog:
    """Blood taken at 10:20 shows a potassium of 6.8, which is told at 10:40; an older sample, 4.1 of 09:40, is told after it."""
    story = abdomen().lab("K", 6.8, at="10:20", known_at="10:40").lab("K", 4.1, at="09:40", known_at="10:50")
    return SmallLog.of(story, *neighbours())


def corrected_lab() -> SmallLog:
    """The potassium of 6.8 was a haemolysed sample: corrected to 4.2 at 10:55. A glucose of 38 is withdrawn at 11:10."""
    story = abdomen().lab("K", 6.8, at="10:20", known_at="10:40").corrects("K", 4.2, at="10:20", known_at="10:55")
    story.lab("Glucose", 38, at="11:00").retracts("Glucose", known_at="11:10")
    return SmallLog.of(story, *neighbours())


def merge_in_mid_read() -> SmallLog:
    """While ACC1 is being read (preliminary report 10:20), the patient turns out to be P2, whose pH is 7.1; undone at 11:00."""
    known = patient("P2").lab("pH", 7.1, at="10:10")
    story = abdomen().report("ACC1", "preliminary", at="10:20").merges_into(known, at="10:30")
    story.parts_from(known, at="11:00").report("ACC1", at="11:30")
    return SmallLog.of(known, story, *neighbours())


def duplicate_order() -> SmallLog:
    """The order is sent again, then placed anew under another placer number as stat; the first of the two is cancelled."""
    story = patient("P1", age=67).arrives("I", at="09:00").order("ACC1", "CT ABDOMEN", "urgent", at="09:30").sent_again(at="09:31")
    story.ct("ABDOMEN", "ACC1", at="10:00").order("ACC1", "CT ABDOMEN", "stat", placer="SECOND", at="10:20")
    return SmallLog.of(story.cancels_order("ACC1", at="10:21").report("ACC1", at="10:50"), *neighbours())


def cancelled_order() -> SmallLog:
    """ACC1 is cancelled after its images came; ACC2, of the same patient, stays. At 11:00 ACC1 is ordered again."""
    story = abdomen().order("ACC2", "DX CHEST", "urgent", at="10:01").xray("CHEST", "ACC2", at="10:10")
    return SmallLog.of(story.cancels_order("ACC1", at="10:30").order("ACC1", "CT ABDOMEN", "asap", at="11:00"), *neighbours())


def dst_night() -> SmallLog:
    """Two samples in the hour that occurs twice: 6.9 at 02:50 summer time, and 20 minutes later, at 02:10 winter time, 4.4.

    ACC2's monitor gives no offset: its 02:30 is read as the earlier one. ACC3 is ordered at 01:45 to be read within 30 minutes.
    """
    first = patient("P1", age=67, **NIGHT).arrives("I", at="01:00").order("ACC1", "CT ABDOMEN", "urgent").ct("ABDOMEN", "ACC1", at="01:30")
    first.lab("K", 6.9, at="02:50+02:00", known_at="02:55+02:00").lab("K", 4.4, at="02:10+01:00", known_at="02:20+01:00")
    second = patient("P2", age=60, **NIGHT).arrives("I", at="01:00").order("ACC2", "CT HEAD", "urgent").ct("HEAD", "ACC2", at="01:30")
    second.vitals({"RR": 28, "SpO2": 88, "SBP": 85, "HR": 125}, at="02:30 local", known_at="02:31+02:00")
    second.vitals({"RR": 16, "SpO2": 97, "SBP": 120, "HR": 80}, at="02:20+01:00")
    third = (
        patient("P3", age=50, **NIGHT)
        .arrives("E", at="01:40")
        .order("ACC3", "DX HAND", "TM30", at="01:45")
        .xray("HAND", "ACC3", at="01:50")
    )
    return SmallLog.of(first, second, third)


def clock_skew() -> SmallLog:
    """An analyser runs 40 minutes fast, a monitor is in the wrong week, and the gateway of the order system is ten minutes slow."""
    story = abdomen().lab("K", 6.8, at="11:00", known_at="10:20")
    other = abdomen("P2", "ACC2").vitals({"RR": 40, "SpO2": 70, "SBP": 60, "HR": 180}, at="2026-03-09 10:20", known_at="10:20")
    slow = (
        abdomen("P3", "ACC3")
        .changes_order("ACC3", "stat", known_at="10:30")
        .changes_order("ACC3", "routine", known_at="10:25", logged_at="10:35")
    )
    return SmallLog.of(story, other, slow, *neighbours())


def model_outage() -> SmallLog:
    """The model sees P1 at 10:05, is away from 10:20 to 10:40, and sees P1 and P2 after it."""
    first = abdomen().scored(0.62, at="10:05").vital("HR", 95, at="10:20").not_scored(at="10:20").scored(0.64, at="10:40")
    second = patient("P2", age=81).arrives("I", at="10:00").order("ACC2", "CT ABDOMEN", "urgent").ct("ABDOMEN", "ACC2", at="10:25")
    second.not_scored(at="10:25").lab("K", 6.9, at="10:30").not_scored(at="10:30").scored(0.9, at="10:40")
    return SmallLog.of(first, second, *neighbours())


def two_ids() -> SmallLog:
    """P1 of the hospital and P1 of the practice are two people until 10:40, when the practice's number is merged into the hospital's."""
    hospital = abdomen()
    practice = patient("P1", authority="PRACTICE").lab("Hb", 5.2, at="10:10").merges_into(hospital, at="10:40")
    return SmallLog.of(hospital, practice, *neighbours())


def unmatched_images() -> SmallLog:
    """Images that name nobody come at 10:00; at 10:30 they are found to be P1's, whose order says stat."""
    story = patient("P1", age=67).arrives("E", at="09:00").order("ACC1", "CT HEAD", "stat", indication="suspected stroke", at="09:30")
    lost = unknown("LOST").ct("HEAD", at="10:00").merges_into(story, at="10:30")
    return SmallLog.of(story, lost, *neighbours())


def resent_messages() -> SmallLog:
    """Every message comes twice, the second time a minute later: senders whose answer was lost."""
    story = patient("P1", age=67).arrives("I", at="09:00").sent_again(at="09:01")
    story.order("ACC1", "CT ABDOMEN", "urgent", at="09:30").sent_again(at="09:31").ct("ABDOMEN", "ACC1", at="10:00").sent_again(at="10:01")
    story.lab("K", 6.8, at="10:20").sent_again(at="10:21").corrects("K", 4.2, known_at="10:30").sent_again(at="10:31")
    return SmallLog.of(story.report("ACC1", at="11:00").sent_again(at="11:01"), *neighbours())


TRAPS: tuple[Callable[[], SmallLog], ...] = (
    *(late_lab, corrected_lab, merge_in_mid_read, duplicate_order, cancelled_order, dst_night, clock_skew, model_outage, two_ids),
    *(unmatched_images, resent_messages),
)


def main() -> None:
    """Writes every log, each with its trap as its note."""
    for trap in TRAPS:
        path = FOLDER / f"{trap.__name__}.rfl"
        trap().write(path, note=" ".join((trap.__doc__ or "").split()))
        print(f"{path.name}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
