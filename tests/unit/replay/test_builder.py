"""Logs written by hand: what is said becomes what gateways send, and what cannot be meant is told in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.adapters.memory.event_log import partition_of
from pipeline.replay.builder import Patient, patient, unknown
from pipeline.replay.names import SITE_KEY, study_uid
from pipeline.replay.small_log import PARTITIONS, SmallLog
from pipeline.replay.times import Day, WrittenWrong
from schemas import codec
from schemas.events import AdtEvent, ImagingEvent, ObservationEvent, OrderEvent
from schemas.identifiers import accession_key, patient_key
from schemas.topics import BY_NAME


def stroke() -> Patient:
    """A patient of the emergency department with everything but a report."""
    return (
        patient("P1", age=67, sex="M")
        .arrives(at="10:00", patient_class="E")
        .order("ACC1", "CT HEAD", "stat", indication="suspected stroke")
        .ct("HEAD", "ACC1", at="10:05")
        .lab("Kalium", 6.8, at="10:20", known_at="10:40")
        .vitals({"RR": 28, "SpO2": 88, "ACVPU": "V"}, at="10:41")
    )


def test_every_record_is_one_that_the_pipeline_reads() -> None:
    """Right topic, key and partition; the document decodes; the headers are a gateway's."""
    for record in SmallLog.of(stroke()).records:
        event = codec.decode(BY_NAME[record.topic], record.value)
        assert record.key.decode() == event.patient == patient_key(SITE_KEY, "HOSPITAL", "P1")
        assert record.partition == partition_of(record.key, PARTITIONS)
        assert record.headers["event_id"] == event.event_id
        assert set(record.headers) == {"event_id", "trace_id", "source"}


def test_the_same_story_is_the_same_log_byte_for_byte(tmp_path: Path) -> None:
    """Ids, times and order depend on nothing but what is written."""
    for name in ("a", "b"):
        SmallLog.of(stroke(), patient("P2").ct("HEAD", "ACC2", at="10:00")).write(tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_log_read_back_is_the_log_written(tmp_path: Path) -> None:
    """Records with their order, names, date and zone."""
    log = SmallLog.of(patient("P1", on="2026-10-25", zone="Europe/Berlin").ct("HEAD", at="10:00").lab("K", 5, at="10:01"))
    log.write(tmp_path / "log.rfl")

    again = SmallLog.read(tmp_path / "log.rfl")

    assert again == log
    assert again.names == {study_uid("P1 CT HEAD"): "P1 CT HEAD"}


def test_a_result_has_the_time_it_was_true_and_the_time_it_was_known() -> None:
    """`at` is the specimen's time, `known_at` the gateway's; Kafka gets it when it is known."""
    step = patient("P1").lab("K", 6.8, at="10:20", known_at="10:40").steps[0]

    assert isinstance(step.event, ObservationEvent)
    (seen,) = step.event.observations
    assert (seen.loinc, seen.value, seen.unit) == ("2823-3", 6.8, "mmol/L")
    assert seen.effective.utc == datetime(2026, 3, 2, 10, 20, tzinfo=UTC)
    assert step.event.recorded_at == step.logged_at == datetime(2026, 3, 2, 10, 40, tzinfo=UTC)


def test_a_correction_names_the_observation_that_it_corrects() -> None:
    """The same key, another event; of two specimens the one of that time."""
    story = patient("P1").lab("K", 6.8, at="10:20").lab("K", 6.9, at="10:50").corrects("K", 4.2, at="10:20", known_at="11:00")
    observations = [step.event.observations[0] for step in story.steps if isinstance(step.event, ObservationEvent)]

    assert [one.key == observations[0].key for one in observations] == [True, False, True]
    assert (observations[2].status, observations[2].value) == ("corrected", 4.2)
    assert len({step.event.event_id for step in story.steps}) == 3


def test_units_are_converted_as_gateways_do() -> None:
    """Creatinine of 300 umol/L is 3.39 mg/dL."""
    (step,) = patient("P1").lab("Creatinine", 300, "umol/L", at="10:00").steps

    assert isinstance(step.event, ObservationEvent)
    assert step.event.observations[0].value == pytest.approx(3.393, abs=0.001)


def test_an_order_has_its_numbers_as_pseudonyms_and_its_deadline() -> None:
    """TM30 allows thirty minutes from the request; no number stands in the event."""
    (step,) = patient("P1").order("ACC1", "CT HEAD", "TM30", at="10:00").steps

    assert isinstance(step.event, OrderEvent)
    assert step.event.accession == accession_key(SITE_KEY, "ACC1")
    assert step.event.deadline == datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
    assert step.event.priority == "urgent"
    assert b"ACC1" not in codec.encode(step.event)


def test_a_merge_is_told_under_both_keys() -> None:
    """As gateways do; the two may live in different partitions."""
    survivor = patient("P1", authority="A").ct("HEAD", "ACC1", at="10:00")
    retired = patient("P1", authority="B").lab("K", 7, at="10:00").merges_into(survivor, at="10:30")
    told = [step.event for step in retired.steps if isinstance(step.event, AdtEvent)]

    assert {event.patient for event in told} == {survivor.key, retired.key}
    assert all((event.retired, event.survivor) == (retired.key, survivor.key) for event in told)
    assert survivor.key != retired.key


def test_images_of_nobody_are_marked_as_unmatched() -> None:
    """Under a key that stands for the study."""
    event = unknown("LOST").ct("HEAD", at="10:00").steps[0].event

    assert isinstance(event, ImagingEvent)
    assert event.unmatched
    assert event.patient.startswith("unmatched-")
    assert event.study_uid == study_uid("LOST")


def test_what_is_sent_again_is_the_same_event_received_later() -> None:
    """The whole step, marked as redelivery."""
    log = SmallLog.of(patient("P1").ct("HEAD", "ACC1", at="10:00").sent_again(at="10:01"))

    ids = [record.headers["event_id"] for record in log.records]
    assert ids[:2] == ids[2:]
    assert ["redelivery" in record.headers for record in log.records] == [False, False, True, True]
    assert {record.timestamp - log.records[0].timestamp for record in log.records[2:]} == {60_000}


def test_an_hour_that_occurs_twice_must_be_told_with_its_offset() -> None:
    """Written plainly it is refused; as the source wrote it, it is read as gateways read it: the earlier one."""
    day = Day.named("2026-10-25", "Europe/Berlin")

    with pytest.raises(WrittenWrong, match=r'occurs twice.*"02:30\+02:00" or "02:30\+01:00"'):
        day.moment("02:30")
    assert day.moment("02:30+01:00") - day.moment("02:30+02:00") == timedelta(hours=1)
    assert day.timestamp("02:30 local").zone == "assumed-fold"
    assert day.moment("02:30 local") == day.moment("02:30+02:00")
    assert day.words(day.moment("02:30+01:00")) == "02:30+01:00"
    with pytest.raises(WrittenWrong, match="does not occur"):
        Day.named("2026-03-29", "Europe/Berlin").moment("02:30")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda p: p.lab("potasium", 5), "no laboratory value.*did you mean potassium"),
        (lambda p: p.lab("HR", 90), r"is a vital sign: write \.vital\("),
        (lambda p: p.lab("K", 5, "mg/dL"), "K is not measured in 'mg/dL'; in mmol/L"),
        (lambda p: p.lab("K", "high"), "K 'high' is no number"),
        (lambda p: p.lab("K", 5, flag="XX"), "flag 'XX' is none of"),
        (lambda p: p.corrects("K", 5, at="10:21"), "no K of 10:21 to correct; there is 6.8 of 10:20"),
        (lambda p: p.retracts("Na"), "no Na to correct; there is none before"),
        (lambda p: p.order("A", "CTT HEAD"), "no modality; did you mean CT"),
        (lambda p: p.order("A", "CT HEAD", "sttat"), "no priority; did you mean stat"),
        (lambda p: p.ct("HEAD", knwn_at="10:00"), "a step has no 'knwn_at'; did you mean known_at"),
        (lambda p: p.arrives("X"), "patient class 'X' is none of E, I, O"),
        (lambda p: p.leaves(at="ten"), "'ten' is no time; write \"10:05\""),
        (lambda p: p.leaves(at=datetime(2026, 1, 1)), "has no time zone"),  # noqa: DTZ001
        (lambda p: p.report(), "of an accession number or of a study"),
        (lambda p: p.report("ACC1", "finel"), "report status 'finel'.*did you mean final"),
        (lambda p: patient("P2").leaves(), "does not say when it begins"),
        (lambda p: patient("P2").sent_again(at="10:00"), "nothing has been sent yet"),
        (lambda p: patient("P2", zone="Berlin"), "no time zone; write an IANA name"),
        (lambda p: patient("P2", on="2.3.2026"), "no date; write it as 2026-03-02"),
        (lambda p: SmallLog.of(), "needs the story of at least one patient"),
        (lambda p: SmallLog.of(p, patient("P2", on="2026-03-03").leaves(at="10:00")), "told by one clock"),
    ],
)
def test_what_cannot_be_meant_is_told_in_words(mistake: Callable[[Patient], object], words: str) -> None:
    """What is wrong and what could be meant."""
    with pytest.raises(WrittenWrong, match=words):
        mistake(stroke().lab("K", 6.8, at="10:20"))
