"""An image model's finding on an unread study, from the events to the alert."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.replay.builder import Patient, patient
from pipeline.replay.play import play
from pipeline.replay.pytest_plugin import Replay
from pipeline.replay.shuffle import shuffled
from pipeline.replay.small_log import SmallLog


def film(probability: float) -> Patient:
    """A routine chest film of the outpatient clinic, looked at by a model a minute later."""
    story = patient("P1", age=40).arrives("O", at="09:00").order("ACC1", "DX CHEST", "routine")
    return story.xray("CHEST", "ACC1", stored=True, at="10:00").looked_at("pneumothorax", probability, "ACC1", at="10:01")


def told(replay: Replay, story: Patient) -> list[tuple[str, str, str]]:
    return [(f"{each.at:%H:%M}", each.step, each.reason) for each in replay(story).escalations if each.trigger == "finding"]


def test_an_unread_finding_is_told_and_goes_up_the_ladder_until_it_is_read(replay: Replay) -> None:
    """Without a rule of the site's own."""
    steps = told(replay, film(0.95).report("ACC1", text="Pneumothorax.", at="10:40"))
    assert steps[0] == ("10:01", "raised", "image: pneumothorax 0.95")
    assert [(at, step) for at, step, _ in steps[1:]] == [
        ("10:01", "notified"), ("10:16", "escalated"), ("10:31", "escalated"), ("10:40", "resolved")
    ]  # fmt: skip


def test_an_alert_is_withdrawn_with_its_order(replay: Replay) -> None:
    """Nobody is woken for a film that is not to be read."""
    steps = told(replay, film(0.95).cancels_order("ACC1", at="10:05"))
    assert [(at, step) for at, step, _ in steps[:3]] == [("10:01", "raised"), ("10:01", "notified"), ("10:05", "withdrawn")]
    assert "escalated" not in [step for _, step, _ in steps]


def test_an_alert_is_withdrawn_when_a_newer_version_takes_the_finding_back(replay: Replay) -> None:
    """The same picture, looked at again: the study sinks to where its order puts it, and who was told hears of it."""
    story = film(0.95).looked_at("pneumothorax", 0.03, "ACC1", at="10:10")
    steps = told(replay, story)
    assert [(at, step) for at, step, _ in steps] == [
        ("10:01", "raised"),
        ("10:01", "notified"),
        ("10:10", "withdrawn"),
        ("10:10", "retracted"),
    ]
    assert steps[2][2] == "the reason has vanished"
    replay(story).assert_rank("ACC1").at("10:09").due_before("10:16")
    replay(story).assert_rank("ACC1").at("10:13").due_after("23:00")


@pytest.mark.parametrize("probability", [0.6, 0.89])
def test_a_model_that_is_not_sure_wakes_nobody(replay: Replay, probability: float) -> None:
    """Its word moves the study up, and that is all."""
    assert told(replay, film(probability)) == []


def test_a_rejected_image_takes_its_finding_and_its_alert_back(replay: Replay) -> None:
    """The technologist rejects the film: the study sinks to where its order puts it, who was told hears of it, and the history says why."""
    story = film(0.95).rejects("ACC1", at="10:10")
    steps = told(replay, story)
    assert [(at, step) for at, step, _ in steps] == [
        ("10:01", "raised"),
        ("10:01", "notified"),
        ("10:10", "withdrawn"),
        ("10:10", "retracted"),
    ]
    assert steps[2][2] == "image rejected for quality reasons"
    replay(story).assert_rank("ACC1").at("10:09").due_before("10:16")
    replay(story).assert_rank("ACC1").at("10:13").due_after("23:00")
    causes = [change.cause for change in replay(story).changes]
    assert causes[-1] == "image rejected for quality reasons, 2026-03-02 10:10Z; no longer: image: pneumothorax 0.95"


def rejected(known_at: str) -> SmallLog:
    """The film and its retake, of which a model says less; the note on the first is known at that time."""
    story = film(0.95).xray("CHEST", "ACC1", instances=2, stored=True, at="10:20").looked_at("pneumothorax", 0.7, "ACC1", instance=2)
    return SmallLog.of(story.rejects("ACC1", "113037", at="09:58", known_at=known_at).report("ACC1", "preliminary", at="10:40"))


@pytest.mark.parametrize("known_at", ["09:59", "10:00", "10:30", "10:50"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_rejection_ends_the_same_whatever_comes_first(known_at: str, data: st.DataObject) -> None:
    """Before the image, between images, after a report; resent, with restarts, whichever partition is ahead."""
    log = rejected(known_at)
    again = data.draw(shuffled(log)).play()

    study = again.changes[-1].item.study
    assert again.state_digest == play(log).state_digest
    assert study.image is not None and (study.image.findings[0].probability, [one.images for one in study.rejected]) == (0.7, [1])
