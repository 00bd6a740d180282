"""The known traps, each as a log, and what a radiologist would say of the list."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.replay.names import study_uid
from pipeline.replay.pytest_plugin import Replay
from pipeline.replay.small_log import SmallLog
from tests.replay.make_corpus import FOLDER, TRAPS

LARGEST = 50_000
DIGEST = "d68dcab69fdd4237f72d1e4a82ef06b0df32a0654120edfbfa26732d13c3bc29"
"""Of late_lab.rfl by the rules. Another rule, or other words of one, is another digest; another machine is not."""


def test_a_late_value_counts_from_when_it_is_known(replay: Replay) -> None:
    """Not before; and an older sample that is told later does not take its place."""
    day = replay("late_lab.rfl")

    day.assert_rank("ACC1").at("10:39").is_below("SOON").not_because("K")
    day.assert_rank("ACC1").at("10:40").is_top(1).because("K 6.8 at 10:20Z").due_before("10:40")
    day.assert_rank("ACC1").at("10:50").is_top(1).because("K 6.8").not_because("K 4.1")
    day.assert_no_escalation_before("10:40")
    day.assert_escalated("ACC1", before="10:41")


def test_a_corrected_value_takes_its_rank_back(replay: Replay) -> None:
    """And a withdrawn one; the deadline is the order's again."""
    day = replay("corrected_lab.rfl")

    day.assert_rank("ACC1").at("10:54").is_top(1).because("K 6.8")
    day.assert_rank("ACC1").at("10:55").is_below("SOON").not_because("K 6.8").due_after("21:59")
    day.assert_rank("ACC1").at("11:00").is_top(1).because("Glucose 38")
    day.assert_rank("ACC1").at("11:10").is_below("SOON").not_because("Glucose")


def test_a_merge_brings_the_other_numbers_values_and_an_unmerge_takes_them_away(replay: Replay) -> None:
    """While the study is being read; the preliminary report stays with it."""
    day = replay("merge_in_mid_read.rfl")

    day.assert_rank("ACC1").at("10:29").is_below("SOON")
    day.assert_rank("ACC1").at("10:30").is_top(1).because("pH 7.1")
    assert day.at("10:30").rows[0].item.study.preliminary_report
    day.assert_rank("ACC1").at("11:00").is_below("SOON").not_because("pH")
    day.assert_no_escalation_before("22:30", "ACC1")  # it is being read: a preliminary report is there
    day.assert_not_listed("ACC1", at="11:30")


def test_a_duplicate_order_makes_no_second_study(replay: Replay) -> None:
    """The order that stands counts, though the other under its accession number is cancelled."""
    day = replay("duplicate_order.rfl")

    assert day.at("10:20").order.count("ACC1") == 1
    day.assert_rank("ACC1").at("10:10").because("urgent").due_after("12:00")
    day.assert_rank("ACC1").at("10:21").because("stat").due_before("11:00")
    day.assert_not_listed("ACC1", at="10:50")


def test_a_cancelled_order_takes_its_own_study_off_the_list(replay: Replay) -> None:
    """Not the patient's other one; ordered again, it is back with its new deadline."""
    day = replay("cancelled_order.rfl")

    day.assert_not_listed("ACC1", at="10:30")
    day.assert_rank("ACC2").at("10:30").is_below("LATER")
    day.assert_rank("ACC1").at("11:00").because("asap").due_before("12:00")


def test_the_night_on_which_an_hour_occurs_twice(replay: Replay) -> None:
    """02:10 winter time is after 02:50 summer time; a time without offset is the earlier one; thirty minutes are thirty minutes."""
    night = replay("dst_night.rfl")

    night.assert_rank("ACC1").at("02:55+02:00").because("K 6.9")
    night.assert_rank("ACC1").at("02:20+01:00").not_because("K")
    night.assert_rank("ACC2").at("02:31+02:00").is_top(1).because("NEWS2 11")
    night.assert_rank("ACC2").at("02:20+01:00").not_because("NEWS2")
    night.assert_rank("ACC3").at("01:50").due_before("02:15+02:00").due_after("02:14+02:00")


def test_clocks_that_are_wrong(replay: Replay) -> None:
    """Forty minutes fast still counts, a wrong week never; of two changes the one said later counts, though it was logged before."""
    day = replay("clock_skew.rfl")

    day.assert_rank("ACC1").at("10:20").is_top(1).because("K 6.8")
    day.assert_rank("ACC2").not_because("NEWS2").is_below("SOON")
    day.assert_rank("ACC3").at("10:35").because("stat").is_above("SOON")


def test_the_list_goes_on_without_its_model(replay: Replay) -> None:
    """The last score stands and is marked; physiology still speaks; afterwards both are scored again."""
    day = replay("model_outage.rfl", scorer="recorded")

    day.assert_rank("ACC1").at("10:19").is_degraded(False).because("risk 0.62").is_above("SOON")
    day.assert_rank("ACC1").at("10:20").is_degraded().because("risk 0.62").is_above("SOON")
    day.assert_rank("ACC2").at("10:25").is_degraded().is_below("LATER")
    day.assert_rank("ACC2").at("10:30").is_degraded().is_top(1).because("K 6.9")
    day.assert_rank("ACC2").at("10:40").is_degraded(False).is_top(1).because("risk 0.90")


def test_the_shipped_model_may_fail_in_the_middle(replay: Replay) -> None:
    """Asked live instead of read from the log: what it cannot answer is degraded, and scored again when it is back."""
    day = replay("late_lab.rfl", scorer="model", model_down=("10:30", "10:45"))

    day.assert_rank("ACC1").at("10:10").is_degraded(False)
    day.assert_rank("ACC1").at("10:40").is_degraded().is_top(1).because("K 6.8")
    day.assert_rank("ACC1").at("10:50").is_degraded(False).is_top(1)


def test_the_same_number_of_another_authority_is_another_person(replay: Replay) -> None:
    """Until a merge says otherwise."""
    day = replay("two_ids.rfl")

    day.assert_rank("ACC1").at("10:39").is_below("SOON").not_because("Hb")
    day.assert_rank("ACC1").at("10:40").is_top(1).because("Hb 5.2")


def test_images_of_nobody_wait_on_the_list_until_they_are_claimed(replay: Replay) -> None:
    """Held to their modality's time, marked as unmatched; then with their order's."""
    day = replay("unmatched_images.rfl")

    day.assert_rank("LOST").at("10:00").because("no priority, no patient class: CT").is_above("LATER")
    assert day.at("10:00").find("LOST").item.study.unmatched  # type: ignore[union-attr]
    day.assert_rank("LOST").at("10:30").is_top(1).because("stroke suspected")


def test_messages_sent_twice_count_once(replay: Replay) -> None:
    """The same list at every moment as if each had come once."""
    twice = replay("resent_messages.rfl")
    log = replay.log("resent_messages.rfl")
    once = replay(log.with_records(record for record in log.records if "redelivery" not in record.headers))

    for change in twice.changes:
        assert str(twice.at(change.at)) == str(once.at(change.at))
    assert [change.cause for change in twice.changes] == [change.cause for change in once.changes]
    assert twice.ignored == {"duplicate": twice.events - once.events}
    assert once.ignored == {}


def test_the_digest_is_the_same_on_every_machine(replay: Replay) -> None:
    """Wherever this test runs."""
    assert replay("late_lab.rfl", scorer="rules").digest == DIGEST


def test_ranking_of_a_morning(replay: Replay, snapshot_ranking: Callable[..., None]) -> None:
    """The whole list after the late value, as text."""
    snapshot_ranking(replay("late_lab.rfl"), at="10:45")


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_the_files_are_what_the_script_writes(trap: Callable[[], SmallLog]) -> None:
    """Every record, name and date; and small enough to be read in review."""
    path = FOLDER / f"{trap.__name__}.rfl"

    assert SmallLog.read(path) == trap(), "write the logs anew: python -m tests.replay.make_corpus"
    assert path.stat().st_size < LARGEST


def test_no_log_is_without_its_story() -> None:
    """Every file here comes from the script."""
    assert {path.stem for path in FOLDER.glob("*.rfl")} == {trap.__name__ for trap in TRAPS}


def test_studies_keep_their_uids() -> None:
    """A name's UID is part of the files: changing it would make every log another."""
    assert study_uid("ACC1") == "2.25.219422534308258951436978718837364458373"
