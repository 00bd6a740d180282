"""What an image model says moves a study up only, and only where it may; what it has not seen is unknown, not normal."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.domain import image_heads
from pipeline.domain.deadlines import decide
from pipeline.domain.image_answer import HeadFinding, HeadReference, assessed
from pipeline.domain.imaging import Study
from schemas.assessments import StudyState
from schemas.events import FindingEvent
from schemas.findings import ImageAssessment, ImageFinding

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def finding(probability: float, ranks: bool = True) -> ImageFinding:
    return ImageFinding(code="pneumonia", label="pneumonia", probability=probability, prevalence=0.5, ranks=ranks)


def image(*findings: ImageFinding, refused: str | None = None, at: datetime = NOW) -> ImageAssessment:
    return ImageAssessment(head="chest_frontal", version="1", at=at, findings=findings, refused=refused, explanation=refused)


def study(seen: ImageAssessment | None = None, modality: str = "DX", body_part: str | None = "CHEST") -> StudyState:
    return StudyState(
        study_uid="1.2.3", ready_at=NOW, modality=modality, body_part=body_part, priority="routine", patient_class="I", image=seen
    )


@pytest.mark.parametrize(
    ("modality", "body_part", "view", "head"),
    [
        ("DX", "CHEST", "PA", "chest_frontal"),
        ("cr", "Thorax", None, "chest_frontal"),
        ("DX", None, None, "chest_frontal"),
        ("DX", "CHEST", "LL", None),
        ("CT", "CHEST", None, None),
        ("DX", "HAND", "PA", None),
        (None, "CHEST", "PA", None),
    ],
)
def test_which_head_looks(modality: str | None, body_part: str | None, view: str | None, head: str | None) -> None:
    """By modality, body part and view; what the header leaves open is decided by the head's own check."""
    found = image_heads.find(modality, body_part, view)
    assert (found.head if found else None) == head


def test_what_is_not_seen_is_said() -> None:
    """No head, not yet, refused: three different words, and none once it was seen."""
    assert image_heads.missing(study(modality="CT", body_part="HEAD")) == "image assessment: no image model for CT HEAD"
    assert image_heads.missing(study()) == "image assessment"
    assert image_heads.missing(study(image(refused="an even area"))) == "image assessment, refused: an even area"
    assert image_heads.missing(study(image(finding(0.2)))) is None


def test_the_training_share_is_taken_out() -> None:
    """Half of the training films have it, a tenth of a department's: even odds there are one to nine here. Order is kept."""
    assert image_heads.at_prevalence(finding(0.5), 0.1) == pytest.approx(0.1)
    here = [image_heads.at_prevalence(finding(p)) for p in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert here == sorted(here) and here[0] == 0 and here[-1] == 1


def test_findings_move_up_monotonically_and_never_down() -> None:
    """The higher the probability, the earlier; the lowest leaves the order's own target."""
    deadlines = [decide(study(), image_heads.evidence(study(image(finding(p / 20))))) for p in range(21)]
    assert all(later.due_at >= sooner.due_at for later, sooner in itertools.pairwise(deadlines))
    assert all(one.due_at <= one.target_at for one in deadlines)
    assert deadlines[0].due_at == deadlines[0].target_at and deadlines[-1].due_at < NOW + timedelta(hours=1)


def test_what_may_not_rank_or_was_refused_pulls_nothing() -> None:
    """Told is not ranked."""
    assert image_heads.evidence(study(image(finding(0.99, ranks=False)))) == []
    assert image_heads.evidence(study(image(refused="too small"))) == []


def test_of_several_pictures_the_most_alarming_stands_in_any_order() -> None:
    """A refused one only where no other was looked at; repetition changes nothing."""
    common = {"patient": "p", "source": "pictures", "study_uid": "1.2.3"}
    told = [
        FindingEvent(event_id=str(number), recorded_at=NOW + timedelta(seconds=number), uri=str(number), image=said, **common)
        for number, said in enumerate([image(refused="blank"), image(finding(0.9)), image(finding(0.4)), image(refused="blank")])
    ]
    for order in itertools.permutations(told):
        folded = Study("1.2.3")
        for event in (*order, *order):
            folded.add_finding(event)
        assert folded.image == told[1].image


REFERENCE = HeadReference(
    head="chest_frontal",
    version="1",
    side=224,
    expects="a chest film",
    findings=(HeadFinding(code="pneumonia", label="pneumonia", prevalence=0.5, ranks=True),),
    sha256="",
)


def test_an_unlike_picture_is_refused_and_numbers_that_are_none_are_no_answer() -> None:
    """Beyond the limit nothing is said of findings."""
    assert assessed(REFERENCE, [0.7], 0.9, "triton", NOW).findings[0].probability == 0.7
    refused = assessed(REFERENCE, [0.7], 1.01, "triton", NOW)
    assert (refused.refused, refused.findings) == ("out-of-distribution", ())
    for numbers, unlikeness in (([0.7, 0.1], 0.5), ([float("nan")], 0.5), ([1.2], 0.5), ([0.7], float("nan"))):
        with pytest.raises(ValueError):
            assessed(REFERENCE, numbers, unlikeness, "triton", NOW)
