"""A report and an image model that contradict each other, from the events to the alert."""

from __future__ import annotations

import pytest

from pipeline.replay.builder import Patient, patient
from pipeline.replay.pytest_plugin import Replay

CONTRADICTED = "the report denies pneumothorax, which an image model sees with 0.96"


def film(report: str | None, probability: float = 0.96) -> Patient:
    """A chest film of the outpatient clinic, looked at by a model, reported at 10:10."""
    story = patient("P1", age=40).arrives("O", at="09:00").order("ACC1", "DX CHEST", "routine").xray("CHEST", "ACC1", at="10:00")
    return story.looked_at("pneumothorax", probability, "ACC1", at="10:01").report("ACC1", text=report, at="10:10")


def told(replay: Replay, story: Patient) -> list[tuple[str, str, str]]:
    return [(f"{each.at:%H:%M}", each.step, each.reason) for each in replay(story).escalations if each.trigger == "discrepancy"]


def test_a_report_that_denies_what_the_model_sees_raises_an_alert(replay: Replay) -> None:
    """Though the study is read; an addendum that says it ends the alert."""
    steps = told(replay, film("FINDINGS: No pneumothorax.").report("ACC1", "addendum", "Small apical pneumothorax.", at="10:40"))

    assert steps[0] == ("10:10", "raised", CONTRADICTED)
    assert [step for _, step, _ in steps[:3]] == ["raised", "notified", "escalated"]
    assert ("10:40", "withdrawn", "the contradiction is gone") in steps


MISSED = "the final report affirms pneumothorax, which the preliminary one denied"


def provisional(first: str, final: str | None, status: str = "final") -> Patient:
    """A chest film with a preliminary report at 10:05 and a final one at 11:00, without a model's word."""
    story = patient("P1", age=40).arrives("O", at="09:00").order("ACC1", "DX CHEST", "routine").xray("CHEST", "ACC1", at="10:00")
    return story.report("ACC1", "preliminary", first, at="10:05").report("ACC1", status, final, at="11:00")  # type: ignore[arg-type]


def test_a_final_report_that_contradicts_its_preliminary_one_raises_an_alert(replay: Replay) -> None:
    """Missed, or seen where there was none; the addendum that takes it back ends it."""
    steps = told(replay, provisional("No pneumothorax.", "Small pneumothorax.").report("ACC1", "addendum", "No pneumothorax.", at="11:30"))
    assert steps[0] == ("11:00", "raised", MISSED)
    assert ("11:30", "withdrawn", "the contradiction is gone") in steps
    [first, *_] = told(replay, provisional("Pneumothorax.", "Kein Pneumothorax."))
    assert first == ("11:00", "raised", "the final report denies pneumothorax, which the preliminary one affirmed")


@pytest.mark.parametrize(
    ("first", "final"),
    [
        ("No pneumothorax.", "No pneumothorax."),
        ("Pneumothorax cannot be excluded.", "Pneumothorax."),
        ("No effusion.", "Pneumothorax."),
        ("Pneumothorax.", "See images."),
        ("Pneumothorax.", None),
    ],
)
def test_a_final_report_that_says_more_contradicts_nothing(replay: Replay, first: str, final: str | None) -> None:
    """What was left open, not mentioned or not understood in one of the two."""
    assert told(replay, provisional(first, final)) == []


def test_a_preliminary_report_that_was_withdrawn_is_not_contradicted(replay: Replay) -> None:
    """Nobody could act on it any more."""
    assert told(replay, provisional("No pneumothorax.", None, "cancelled").report(study="ACC1", text="Pneumothorax.", at="11:10")) == []


def test_a_report_that_comes_before_the_model_is_contradicted_too(replay: Replay) -> None:
    """The patient has nothing to read any more; the model's word still counts."""
    story = patient("P1", age=40).arrives("O", at="09:00").order("ACC1", "DX CHEST", "routine").xray("CHEST", "ACC1", at="10:00")
    story.report("ACC1", text="Kein Nachweis eines Pneumothorax.", at="10:10").looked_at("pneumothorax", 0.96, "ACC1", at="10:20")

    assert told(replay, story)[0] == ("10:20", "raised", CONTRADICTED)


def test_a_report_that_does_not_mention_it_raises_an_alert(replay: Replay) -> None:
    """The report is understood, and silent on it."""
    assert told(replay, film("Normal heart. No effusion."))[0][2].startswith("the report does not mention pneumothorax")


@pytest.mark.parametrize("report", ["Pneumothorax.", "Pneumothorax cannot be excluded.", "See images.", None])
def test_no_alert_where_nothing_is_contradicted(replay: Replay, report: str | None) -> None:
    """Affirmed, left open, not understood, without words."""
    assert told(replay, film(report)) == []


def test_a_model_that_is_not_sure_contradicts_nobody(replay: Replay) -> None:
    """Below the site's probability."""
    assert told(replay, film("No pneumothorax.", 0.8)) == []
