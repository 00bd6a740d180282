"""A head's numbers as an assessment that a person can read, and what must be known of a head to do that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from pipeline.domain.image_heads import Scope
from schemas.findings import Activation, ImageAssessment, ImageFinding

MAP_SIDE_MAX = 16
"""Of an activation map that is kept."""
LIMIT = 1.0
"""Unlikeness from which a picture is not judged."""


class HeadFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One output. prevalence: share of the training pictures that had it. ranks: whether it may move a study up."""

    code: str
    label: str
    prevalence: float
    ranks: bool


class HeadReference(msgspec.Struct, frozen=True, kw_only=True):
    """What is published beside a head's weights. side: pixels of its input. sha256: of the ONNX file. spread: whether the graph says how
    uncertain each probability is.

    scope: the pictures that it looks at; None in versions from before it stood here: as the head that ships. tasks: of `evaluate`, those
    that test it, each with the finding that it is about; compared: the one that tells at promotion whether a version is worse.
    """

    head: str
    version: str
    side: int
    expects: str
    findings: tuple[HeadFinding, ...]
    sha256: str
    spread: bool = False
    scope: Scope | None = None
    tasks: dict[str, str | None] = {}
    compared: str | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Of the findings, in the graph's order."""
        return tuple(finding.code for finding in self.findings)


def assessed(
    reference: HeadReference,
    probabilities: Sequence[float],
    unlikeness: float,
    activations: Sequence[Sequence[float]],
    spreads: Sequence[float],
    scorer: Literal["triton", "onnxruntime"],
    at: datetime,
) -> ImageAssessment:
    """Findings, or the refusal of a picture that is not what the head expects. Raises ValueError for numbers that are no answer.

    activations: one square map a finding, as Activation tells of it. spreads: as ImageFinding's, one a finding. What is none of them is
    left out, and the finding stands.
    """
    if len(probabilities) != len(reference.findings) or not math.isfinite(unlikeness):
        raise ValueError(f"{len(probabilities)} numbers and an unlikeness of {unlikeness} are no answer of {reference.head}")
    if not all(0 <= probability <= 1 for probability in probabilities):
        raise ValueError("the answer holds numbers that are no probabilities")
    if unlikeness > LIMIT:
        words = f"does not look like {reference.expects}"
        return _refused(reference, at, "out-of-distribution", words, scorer=scorer, unlikeness=round(unlikeness, 3))
    maps = [activation(one) for one in activations] if len(activations) == len(reference.findings) else [None] * len(reference.findings)
    told = [round(one, 5) if 0 <= one <= 1 else None for one in spreads] if len(spreads) == len(maps) else [None] * len(maps)
    findings = tuple(
        ImageFinding(
            code=one.code,
            label=one.label,
            probability=round(chance, 5),
            prevalence=one.prevalence,
            ranks=one.ranks,
            activation=seen,
            spread=spread,
        )
        for one, chance, seen, spread in zip(reference.findings, probabilities, maps, told, strict=True)
    )
    return ImageAssessment(
        head=reference.head, version=reference.version, at=at, scorer=scorer, findings=findings, unlikeness=round(unlikeness, 3)
    )


def activation(contributions: Sequence[float]) -> Activation | None:
    """The map in a byte a place; None for what is no square of numbers."""
    side = math.isqrt(len(contributions))
    if not 0 < side <= MAP_SIDE_MAX or side * side != len(contributions) or not all(map(math.isfinite, contributions)):
        return None
    peak = max(map(abs, contributions))
    return Activation(side=side, peak=round(peak, 3), levels=bytes(128 + round(127 * one / (peak or 1.0)) for one in contributions))


def refused(reference: HeadReference, reason: str, explanation: str, at: datetime) -> ImageAssessment:
    """No model has seen it: the picture could not be read, or is none."""
    return _refused(reference, at, reason, explanation)


def _refused(
    reference: HeadReference,
    at: datetime,
    reason: str,
    explanation: str,
    scorer: Literal["triton", "onnxruntime"] | None = None,
    unlikeness: float | None = None,
) -> ImageAssessment:
    return ImageAssessment(
        head=reference.head,
        version=reference.version,
        at=at,
        scorer=scorer,
        unlikeness=unlikeness,
        refused=reason,
        explanation=explanation,
    )
