"""Assertions in the user's words: each holds, each can fail, and a failure shows the list as it stood."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pipeline.replay.names import SITE_KEY, study_uid
from pipeline.replay.past import Change, Names
from pipeline.replay.played import Played, ordinal
from pipeline.replay.snapshot import difference, text_of
from pipeline.replay.times import Day, WrittenWrong
from schemas.alerts import Alert
from schemas.assessments import Evidence, StudyState
from schemas.identifiers import accession_key
from schemas.worklist import Reason, WorklistItem

DAY = Day()


def change(at: str, name: str, due: str, why: str, cause: str = "images arrived", closed: bool = False, label: str = "") -> Change:
    """An item of study `name` from `at` on."""
    study = StudyState(
        study_uid=study_uid(name),
        ready_at=DAY.moment("10:00"),
        modality="CT",
        body_part="HEAD",
        accession=accession_key(SITE_KEY, name),
        closed="reported" if closed else None,
    )
    reason = Reason(evidence=Evidence(kind="critical-lab", code="potassium", label=label or why, severity=0.7), minutes=10, binding=True)
    item = WorklistItem(
        study=study,
        patient="p",
        due_at=DAY.moment(due),
        target_at=DAY.moment("20:00"),
        reasons=[reason],
        why=why,
        context_version=1,
        as_of=DAY.moment(at),
        ranked_at=DAY.moment(at),
        state="closed" if closed else "open",
    )
    return Change(DAY.moment(at), item, cause)


def alert(at: str, name: str) -> Alert:
    """A first notification."""
    moment = DAY.moment(at)
    return Alert(
        event_id=name, idempotency_key=name, study_uid=study_uid(name), patient="p", step="notified", reason="K 6.8", at=moment,
        recorded_at=moment,
    )  # fmt: skip


@pytest.fixture
def played() -> Played:
    """ACC2 is read first until potassium brings ACC1 up at 10:40; ACC2 is reported at 11:00."""
    changes = [
        change("10:05", "ACC1", "12:00", "stat"),
        change("10:10", "ACC2", "11:00", "asap"),
        change("10:40", "ACC1", "10:55", "K 6.8 at 10:20Z", "K 6.8 mmol/L", label="K 6.8 mmol/L at 10:20Z, critical above 6.1"),
        change("11:00", "ACC2", "11:00", "asap", "reported", closed=True),
    ]
    names = Names({study_uid(name): name for name in ("ACC1", "ACC2")})
    return Played(changes, [alert("10:41", "ACC1")], "d", "s", 4, DAY, names)


def test_time_travel_shows_what_was_known_then(played: Played) -> None:
    """And nothing that came later."""
    assert played.at("10:04").order == []
    assert played.at("10:05").order == ["ACC1"]
    assert played.at("10:39:59").order == ["ACC2", "ACC1"]
    assert played.at("10:40").order == ["ACC1", "ACC2"]
    assert played.at("11:00").order == ["ACC1"]


def test_true_assertions_hold(played: Played) -> None:
    """One after the other, in a row."""
    rank = (
        played.assert_rank("ACC1").at("10:10").is_top(2).is_at(2).is_below("ACC2").because("stat").not_because("K 6.8").due_after("11:00")
    )
    rank.at("10:40").is_top(1).is_above("ACC2").because("K 6.8", "critical above 6.1").due_before("10:55").is_degraded(False)
    played.assert_rank("ACC1").is_at(1)
    played.assert_not_listed("ACC2")
    played.assert_not_listed("ACC2", at="10:09")
    played.assert_no_escalation_before("10:41")
    played.assert_no_escalation_before("11:00", "ACC2")
    played.assert_escalated("ACC1", before="10:42")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda p: p.assert_rank("ACC1").at("10:10").is_top(1), "ACC1 is 2nd of 2, not among the first 1, at 10:10"),
        (lambda p: p.assert_rank("ACC1").at("10:10").is_at(1), "ACC1 is 2nd of 2, not 1st, at 10:10"),
        (lambda p: p.assert_rank("ACC1").at("10:10").is_above("ACC2"), "ACC1 is 2nd, below ACC2, which is 1st, at 10:10"),
        (lambda p: p.assert_rank("ACC1").at("10:40").is_below("ACC2"), "ACC1 is 1st, above ACC2, which is 2nd, at 10:40"),
        (lambda p: p.assert_rank("ACC1").at("10:10").because("K 6.8"), "ACC1 stands there for other reasons than 'K 6.8': stat, at 10:10"),
        (lambda p: p.assert_rank("ACC1").not_because("k 6.8"), "ACC1 stands there because of 'k 6.8'"),
        (lambda p: p.assert_rank("ACC1").due_before("10:50"), "ACC1 is due at 10:55, not before 10:50"),
        (lambda p: p.assert_rank("ACC1").due_after("10:55"), "ACC1 is due at 10:55, not after 10:55"),
        (lambda p: p.assert_rank("ACC1").is_degraded(), "ACC1 is not marked as degraded"),
        (lambda p: p.assert_rank("ACC2").is_top(9), "ACC2 is not listed at 11:00: it was closed (reported)"),
        (lambda p: p.assert_rank("ACC2").at("10:06").is_top(9), "ACC2 is not listed at 10:06: it has not come yet"),
        (lambda p: p.assert_not_listed("ACC1"), "ACC1 is still listed at 11:00, as 1st"),
        (lambda p: p.assert_no_escalation_before("10:42"), "escalated before 10:42:\n  10:41  ACC1  notified: K 6.8"),
        (lambda p: p.assert_no_escalation_before("10:42", "ACC1"), "escalated before 10:42"),
        (lambda p: p.assert_escalated("ACC1", before="10:41"), "nobody was alerted about ACC1 before 10:41"),
    ],
)
def test_false_assertions_fail_and_show_the_list(played: Played, wrong: Callable[[Played], object], words: str) -> None:
    """What is wrong, the whole list at that time, and what moved the study until then."""
    with pytest.raises(AssertionError) as failure:
        wrong(played)

    message = str(failure.value)
    assert message.startswith(words)
    assert "The list at " in message


def test_a_failure_reads_as_a_page_would(played: Played) -> None:
    """Place, study, deadline, reason; the study asked for has an arrow."""
    with pytest.raises(AssertionError) as failure:
        played.assert_rank("ACC1").at("10:10").is_top(1)

    assert str(failure.value).splitlines() == [
        "ACC1 is 2nd of 2, not among the first 1, at 10:10",
        "",
        "The list at 10:10:",
        "  #  study  due    why",
        "  1  ACC2   11:00  asap",
        "> 2  ACC1   12:00  stat",
        "",
        "What moved ACC1 until then:",
        "  10:05  due 12:00  images arrived",
    ]


def test_a_study_that_never_was_is_no_assertion(played: Played) -> None:
    """`assert_not_listed` with a typing error would hold for the wrong reason."""
    with pytest.raises(WrittenWrong, match="no study was ever called 'ACC9'; did you mean ACC2 or ACC1"):
        played.assert_not_listed("ACC9")


def test_studies_are_found_by_number_and_uid_without_names(played: Played) -> None:
    """In a log that names none, by accession number or UID; they are shown by what they are."""
    nameless = Played(played.changes, [], "d", "s", 4, DAY, Names())

    assert nameless.at("10:05").find("ACC1") == nameless.at("10:05").find(study_uid("ACC1")) is not None
    assert nameless.at("10:05").order == [f"CT HEAD …{study_uid('ACC1')[-6:]}"]


def test_a_changed_snapshot_says_what_moved(played: Played) -> None:
    """In words, study by study, before the two lists."""
    told = difference(text_of(played.at("10:10")), text_of(played.at("11:00")))

    assert told.splitlines()[:2] == [
        '  ACC1: up from 2nd to 1st, due 10:55 instead of 12:00, because of "K 6.8 at 10:20Z" instead of "stat"',
        "  ACC2: no longer on the list (was 1st)",
    ]


def test_an_escalation_before_the_log_is_none(played: Played) -> None:
    """The bound itself is not before it."""
    played.assert_no_escalation_before(played.escalations[0].at)
    with pytest.raises(AssertionError):
        played.assert_no_escalation_before(played.escalations[0].at + timedelta(seconds=1))


def test_ordinals() -> None:
    """The teens are regular."""
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]
