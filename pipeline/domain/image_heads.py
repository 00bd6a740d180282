"""Which pictures an image model may look at, and what its answer means for the list. What there is comes from models/heads/."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, TypeAlias

import msgspec

from pipeline.domain.site import DEFAULT, Policy
from schemas.assessments import Evidence, StudyState
from schemas.findings import ImageAssessment, ImageFinding

Word = Annotated[str, msgspec.Meta(pattern="^[A-Z0-9_ ]+$")]
"""A DICOM code string; headers are compared in capitals."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a head was made for, in DICOM's words. None among body parts or views: the header may be silent."""

    modalities: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]
    body_parts: Annotated[tuple[Word | None, ...], msgspec.Meta(min_length=1)]
    views: Annotated[tuple[Word | None, ...], msgspec.Meta(min_length=1)]

    def covers(self, modality: str | None, body_part: str | None, view: str | None) -> bool:
        """Whether such a picture is meant, the header's words in capitals."""
        return self.awaits(modality, body_part) and view in self.views

    def awaits(self, modality: str | None, body_part: str | None) -> bool:
        """Whether a study of such pictures may hold one that is meant: a study does not know its pictures' views."""
        return modality in self.modalities and body_part in self.body_parts


Scopes: TypeAlias = Mapping[str, Scope]
"""Head -> what it was made for: the heads that there are. Where two cover a picture, the first looks."""
NO_HEADS: Scopes = MappingProxyType({})


def find(heads: Scopes, modality: str | None, body_part: str | None, view: str | None) -> str | None:
    """The head for such a picture, None where there is none."""
    wanted = (_word(modality), _word(body_part), _word(view))
    return next((head for head, scope in heads.items() if scope.covers(*wanted)), None)


def missing(study: StudyState, heads: Scopes) -> str | None:
    """What keeps the picture from being judged, as a noun; None where it has been. Unknown is not normal."""
    if study.image is not None:
        return None if study.image.refused is None else f"image assessment, refused: {study.image.explanation or study.image.refused}"
    modality, body_part = _word(study.modality), _word(study.body_part)
    if not any(scope.awaits(modality, body_part) for scope in heads.values()):
        kind = " ".join(word for word in (modality, body_part) if word)
        return f"image assessment: no image model for {kind or 'an unknown modality'}"
    return "image assessment: rejected images are not judged" if study.rejected else "image assessment"


def evidence(study: StudyState, policy: Policy = DEFAULT) -> list[Evidence]:
    """The findings that may move the study up, each for itself."""
    image = study.image
    if image is None or image.refused is not None:
        return []
    return [_evidence(image, finding, policy) for finding in image.findings if finding.ranks and 0 <= finding.probability <= 1]


def at_prevalence(finding: ImageFinding, prevalence: float) -> float:
    """The probability where `prevalence` of the pictures have the finding: the same odds ratio on other odds (Bayes)."""
    return odds_at(finding.probability, finding.prevalence, prevalence)


def odds_at(probability: float, calibrated: float, prevalence: float) -> float:
    """The same for a probability that came true where `calibrated` of the pictures had the finding."""
    if probability in (0.0, 1.0):
        return probability
    shift = _logit(prevalence) - _logit(min(max(calibrated, 1e-6), 1 - 1e-6))
    return 1 / (1 + math.exp(-(_logit(probability) + shift)))


def _evidence(image: ImageAssessment, finding: ImageFinding, policy: Policy) -> Evidence:
    probability = at_prevalence(finding, policy.prevalence(finding.code))
    return Evidence(
        kind="image",
        code=finding.code,
        label=f"image: {finding.label} {probability:.2f}",
        severity=round(policy.image.of(probability), 6),
        value=round(probability, 5),
        at=image.at,
        source=image.scorer,
        reverts_when=f"{finding.label} {policy.image.none_below:.2f} or below on every picture",
    )


def _word(text: str | None) -> str | None:
    return text.strip().upper() or None if text else None


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
