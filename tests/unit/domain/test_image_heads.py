"""What an image model says moves a study up only, and only where it may; what it has not seen is unknown, not normal."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from pipeline.domain import image_heads
from pipeline.domain.deadlines import decide
from pipeline.domain.image_answer import HeadFinding, HeadReference, assessed
from pipeline.domain.image_heads import NO_HEADS, Scope
from pipeline.domain.imaging import Study
from pipeline.domain.site import Policy
from schemas.assessments import StudyState
from schemas.events import FindingEvent
from schemas.findings import Activation, ImageAssessment, ImageFinding

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHEST = Scope(modalities=("CR", "DX"), body_parts=("CHEST", "THORAX", None), views=("AP", "PA", None))
HEADS = {"chest_frontal": CHEST, "hand": Scope(modalities=("CR",), body_parts=("HAND", None), views=(None,))}


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
        ("CR", "hand ", None, "hand"),
        ("CR", None, None, "chest_frontal"),
        (None, "CHEST", "PA", None),
    ],
)
def test_which_head_looks(modality: str | None, body_part: str | None, view: str | None, head: str | None) -> None:
    """By modality, body part and view; what the header leaves open is decided by the head's own check."""
    assert image_heads.find(HEADS, modality, body_part, view) == head
    assert image_heads.find(NO_HEADS, modality, body_part, view) is None


def test_a_scope_is_in_dicom_s_words_and_says_something() -> None:
    """What could never match a header is refused where it is read."""
    for wrong in ({"modalities": ["cr"]}, {"modalities": []}, {"views": []}, {"body_parts": ["left hand"]}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**msgspec.to_builtins(CHEST), **wrong}, Scope)


def test_what_is_not_seen_is_said() -> None:
    """No head, not yet, refused: three different words, and none once it was seen."""
    assert image_heads.missing(study(modality="CT", body_part="HEAD"), HEADS) == "image assessment: no image model for CT HEAD"
    assert image_heads.missing(study(), HEADS) == "image assessment"
    only_ap = {"chest_frontal": replace(CHEST, views=("AP",))}
    assert image_heads.missing(study(), only_ap) == "image assessment", "one of its pictures may be an AP view"
    assert image_heads.missing(study(), NO_HEADS) == "image assessment: no image model for DX CHEST"
    assert image_heads.missing(study(image(refused="an even area")), HEADS) == "image assessment, refused: an even area"
    assert image_heads.missing(study(image(finding(0.2))), HEADS) is None


def test_the_training_share_is_taken_out() -> None:
    """Half of the training films have it, a tenth of a department's: even odds there are one to nine here. Order is kept."""
    assert image_heads.at_prevalence(finding(0.5), 0.1) == pytest.approx(0.1)
    here = [image_heads.at_prevalence(finding(p), 0.1) for p in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert here == sorted(here) and here[0] == 0 and here[-1] == 1


def test_the_site_s_share_counts() -> None:
    """Where more have it, the same picture says more and is due earlier."""
    seen = study(image(finding(0.7)))
    rare, common = (image_heads.evidence(seen, Policy(finding_shares={"pneumonia": share}))[0] for share in (0.02, 0.4))
    assert rare.value == pytest.approx(image_heads.at_prevalence(finding(0.7), 0.02), abs=1e-5)
    assert decide(seen, [common]).due_at < decide(seen, [rare]).due_at
    assert image_heads.evidence(seen, Policy(finding_shares={"nodule": 0.4})) == image_heads.evidence(seen)


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


def test_a_newer_word_on_the_same_picture_takes_a_finding_back_in_any_order() -> None:
    """Another picture's word stays, a refusal takes nothing back, and what came twice with different bytes are two pictures."""
    common = {"patient": "p", "source": "pictures", "study_uid": "1.2.3"}

    def folded(*said: tuple[str, ImageAssessment]) -> ImageAssessment | None:
        told = [
            FindingEvent(event_id=str(n), recorded_at=NOW + timedelta(seconds=n), uri=uri, image=image, **common)
            for n, (uri, image) in enumerate(said)
        ]
        found = []
        for order in itertools.permutations(told):
            study = Study("1.2.3")
            for event in (*order, *order):
                study.add_finding(event)
            found.append(study.image)
        assert all(one == found[0] for one in found)
        return found[0]

    high, low, middle, refused = image(finding(0.9)), image(finding(0.2)), image(finding(0.5)), image(refused="out-of-distribution")
    assert folded(("a", high), ("a", low)) == low
    assert folded(("a", low), ("a", high)) == high
    assert folded(("a", high), ("b", middle), ("a", low)) == middle
    assert folded(("a", high), ("a", refused)) == high
    assert folded(("a", high), ("a~1", low)) == high
    assert folded(("a", high), ("a", replace(low, head="other"))) == high, "of another head"


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
    assert assessed(REFERENCE, [0.7], 0.9, (), (), "triton", NOW).findings[0].probability == 0.7
    refused = assessed(REFERENCE, [0.7], 1.01, [[1.0] * 9], [0.1], "triton", NOW)
    assert (refused.refused, refused.findings) == ("out-of-distribution", ())
    for numbers, unlikeness in (([0.7, 0.1], 0.5), ([float("nan")], 0.5), ([1.2], 0.5), ([0.7], float("nan"))):
        with pytest.raises(ValueError):
            assessed(REFERENCE, numbers, unlikeness, (), (), "triton", NOW)


def test_a_map_is_a_byte_a_place_and_says_what_it_was_made_of() -> None:
    """To a hundredth of its peak; what is no square of numbers is left out, and the finding stands."""
    contributions = [0.5, -1.5, 3.0, 0.0, 0.1, -0.1, 2.0, -3.0, 1.0]
    kept = assessed(REFERENCE, [0.7], 0.5, [contributions], (), "triton", NOW).findings[0].activation
    assert kept is not None and (kept.side, kept.peak) == (3, 3.0)
    assert [(level - 128) / 127 * kept.peak for level in kept.levels] == pytest.approx(contributions, abs=0.03)
    nothing = [0.0] * 4
    assert assessed(REFERENCE, [0.7], 0.5, [nothing], (), "triton", NOW).findings[0].activation == Activation(
        side=2, peak=0, levels=b"\x80" * 4
    )
    for unusable in ([], [[]], [[1.0, 2.0]], [[float("nan")]], [[0.0] * 289]):
        [said] = assessed(REFERENCE, [0.7], 0.5, unusable, (), "triton", NOW).findings
        assert (said.probability, said.activation) == (0.7, None)


def test_how_sure_a_finding_is_stands_beside_it() -> None:
    """Where the head says it, and as a number that can be one; the finding stands without."""
    for told, kept in (([0.06], 0.06), ((), None), ([float("nan")], None), ([-0.1], None), ([0.1, 0.2], None)):
        [said] = assessed(REFERENCE, [0.7], 0.5, (), told, "triton", NOW).findings
        assert (said.probability, said.spread) == (0.7, kept)
