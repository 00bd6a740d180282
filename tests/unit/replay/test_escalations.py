"""Who is told when in a replay: the live escalation rules, on the log's own clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.domain.escalation_policy import EscalationPolicy, Step
from pipeline.domain.site import Policy
from pipeline.replay import running
from pipeline.replay.builder import Patient, patient
from pipeline.replay.comparison import compare
from pipeline.replay.play import play
from pipeline.replay.played import Played
from pipeline.replay.small_log import SmallLog


def sick() -> Patient:
    """Read at 11:00, with a critical potassium from 10:20 on."""
    story = patient("P1", age=67).arrives("I", at="09:00").order("ACC1", "CT ABDOMEN", "urgent").ct("ABDOMEN", "ACC1", at="10:15")
    return story.lab("K", 6.8, at="10:20").report("ACC1", at="11:00")


def told(played: Played, *steps: str) -> list[tuple[str, str, str | None]]:
    """When, which step, whom."""
    return [(played.day.words(one.at), one.step, one.role) for one in played.escalations if one.step in steps]


def test_a_critical_value_goes_up_the_ladder_until_the_study_is_read() -> None:
    """At once, after 15 and 30 minutes; the head, due at 11:20, is spared. A deadline that passes meanwhile is no second alert."""
    played = play(SmallLog.of(sick()))

    assert told(played, "notified", "escalated") == [
        ("10:20", "notified", "radiologist"),
        ("10:35", "escalated", "radiologist"),
        ("10:50", "escalated", "senior"),
    ]
    assert told(played, "suppressed") == [("10:36:54", "suppressed", None)]
    assert told(played, "resolved") == [("11:00", "resolved", None)] * 2


def test_a_correction_takes_the_alert_back() -> None:
    """And those who had been told are told so."""
    played = play(SmallLog.of(sick().corrects("K", 4.2, known_at="10:30")))

    assert told(played, "withdrawn", "retracted")[0] == ("10:30", "withdrawn", None)
    assert told(played, "retracted") == [("10:30", "retracted", "radiologist")]


def test_a_deadline_that_passes_in_silence_is_told() -> None:
    """Also after the log's last event, for time goes on; with `until` it ends there."""
    story = patient("P1").arrives("E", at="09:00").order("ACC1", "CT HEAD", "stat").ct("HEAD", "ACC1", at="10:00")

    assert told(play(SmallLog.of(story)), "notified") == [("10:45:05", "notified", "radiologist")]
    assert told(play(SmallLog.of(story), until="10:45"), "notified") == []


def test_another_ladder_is_another_history() -> None:
    """The site's own steps."""
    policy = Policy(escalation=EscalationPolicy(steps=(Step(10, "senior", "page"),)))

    assert told(play(SmallLog.of(sick()), policy=policy), "notified", "escalated") == [("10:30", "notified", "senior")]


def test_assertions_on_escalations_can_fail() -> None:
    """About one study and about any, with what was told and the list at that time."""
    played = play(SmallLog.of(sick()))

    played.assert_escalated("ACC1", before="10:21")
    played.assert_no_escalation_before("10:20")
    with pytest.raises(AssertionError) as failure:
        played.assert_no_escalation_before("10:36", "ACC1")
    assert str(failure.value).splitlines()[:4] == [
        "escalated before 10:36:",
        "  10:20  ACC1  raised: K 6.8 mmol/L at 10:20Z, critical above 6.1",
        "  10:20  ACC1  notified: radiologist told over page",
        "  10:35  ACC1  escalated: radiologist told over page",
    ]
    with pytest.raises(AssertionError, match="nobody was alerted about ACC1 before 10:20"):
        played.assert_escalated("ACC1", before="10:20")


def test_a_comparison_tells_who_is_told_more_and_less(tmp_path: Path) -> None:
    """With the correction nobody wakes the radiologist a second time, nor the senior."""
    for name, story in (("a", sick()), ("b", sick().corrects("K", 4.2, known_at="10:30"))):
        SmallLog.of(story).write(tmp_path / f"{name}.rfl")

    a, b = (running.result(tmp_path / f"{name}.rfl", running.Choice(scorer="rules")) for name in ("a", "b"))
    found = compare(a, b)

    assert [step for _, step in found.lost] == ["escalated: radiologist (critical)", "escalated: senior (critical)"]
    assert found.gained == []
