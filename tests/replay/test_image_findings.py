"""An image model's finding on an unread study, from the events to the alert."""

from __future__ import annotations

import pytest

from pipeline.replay.builder import Patient, patient
from pipeline.replay.pytest_plugin import Replay


def film(probability: float) -> Patient:
    """A routine chest film of the outpatient clinic, looked at by a model a minute later."""
    story = patient("P1", age=40).arrives("O", at="09:00").order("ACC1", "DX CHEST", "routine").xray("CHEST", "ACC1", at="10:00")
    return story.looked_at("pneumothorax", probability, "ACC1", at="10:01")


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
