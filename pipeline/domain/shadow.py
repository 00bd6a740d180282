"""A candidate's scores beside the served model's, on the same patients at the same moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import mean
from typing import NamedTuple

import msgspec

MOST_APART = 10


class ShadowScore(NamedTuple):
    """Both models' probability for one request (of an image head: for one finding of one picture). Never part of a rank."""

    patient: str
    context_version: int
    scored_at: datetime
    served_version: str
    served: float
    shadow_version: str
    shadow: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """higher: share that the candidate puts higher. crossing: share that lies on different sides of `threshold`.

    agreement: chance that both order two requests alike (Kendall, ties left out), of a sample. most_apart: the largest differences.
    """

    served_version: str
    shadow_version: str
    scores: int
    patients: int
    mean_served: float
    mean_shadow: float
    mean_absolute_difference: float
    higher: float
    threshold: float
    crossing: float
    agreement: float | None
    most_apart: list[tuple[str, float, float]]


def compare(scores: Sequence[ShadowScore], threshold: float) -> list[Comparison]:
    """One for each pair of versions, the newest pair first. threshold: the risk from which a rank moves."""
    pairs: dict[tuple[str, str], list[ShadowScore]] = {}
    for score in sorted(scores, key=lambda score: score.scored_at, reverse=True):
        pairs.setdefault((score.served_version, score.shadow_version), []).append(score)
    return [_compare(*versions, found, threshold) for versions, found in pairs.items()]


def _compare(served: str, shadow: str, scores: Sequence[ShadowScore], threshold: float) -> Comparison:
    apart = sorted(scores, key=lambda score: -abs(score.shadow - score.served))
    return Comparison(
        served_version=served,
        shadow_version=shadow,
        scores=len(scores),
        patients=len({score.patient for score in scores}),
        mean_served=round(mean(score.served for score in scores), 4),
        mean_shadow=round(mean(score.shadow for score in scores), 4),
        mean_absolute_difference=round(mean(abs(score.shadow - score.served) for score in scores), 4),
        higher=round(mean(score.shadow > score.served for score in scores), 4),
        threshold=threshold,
        crossing=round(mean((score.shadow >= threshold) != (score.served >= threshold) for score in scores), 4),
        agreement=_agreement(scores),
        most_apart=[(score.patient, score.served, score.shadow) for score in apart[:MOST_APART]],
    )


def _agreement(scores: Sequence[ShadowScore], sample: int = 300) -> float | None:
    """Over a sample at equal steps: every pair of 300 is 45,000."""
    chosen = [scores[place * len(scores) // min(sample, len(scores))] for place in range(min(sample, len(scores)))]
    alike = told = 0
    for n, one in enumerate(chosen):
        for other in chosen[:n]:
            sign = (one.served - other.served) * (one.shadow - other.shadow)
            told += sign != 0
            alike += sign > 0
    return round(alike / told, 4) if told else None
