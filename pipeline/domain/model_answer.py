"""A risk model's numbers as a Risk that a person can read, and what must be known of a model to do that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features
from pipeline.domain.catalogue import BY_NAME
from schemas.assessments import AssessRequest, Contribution, Features, Risk

MOST_CONTRIBUTIONS = 5
_UNITS = {"mm[Hg]": "mmHg", "Cel": "°C", "[pH]": "", "{score}": "", "10*3/uL": "10³/µL"}
_SEXES = {"F": "female", "M": "male"}


class ModelReference(msgspec.Struct, frozen=True, kw_only=True):
    """What is published beside a model's weights. outcome: what the label was. layout: `features.LAYOUT_VERSION` that it was trained on.

    limits: feature -> the values at which its input is clipped. calibration: Platt's slope and intercept, already inside the graph.
    sha256: of the ONNX file.
    """

    model: str
    version: str
    outcome: str
    layout: int
    features: tuple[str, ...]
    groups: tuple[str, ...]
    limits: dict[str, tuple[float, float]]
    calibration: tuple[float, float]
    sha256: str


def risks(
    requests: Sequence[AssessRequest],
    probability: NDArray[np.floating],
    contributions: NDArray[np.floating],
    reference: ModelReference,
    scorer: Literal["triton", "onnxruntime"],
    scored_at: datetime,
    version: str | None = None,
) -> list[Risk]:
    """One Risk a request. probability: [n, 1]; contributions: [n, groups]. `version`: the one that answered, if not the reference's.

    Raises ValueError when the numbers are not probabilities of these requests.
    """
    if probability.shape != (len(requests), 1) or contributions.shape != (len(requests), len(reference.groups)):
        raise ValueError(f"shapes {probability.shape} and {contributions.shape} are no answer to {len(requests)} requests")
    if not (np.isfinite(contributions).all() and ((probability >= 0) & (probability <= 1)).all()):
        raise ValueError("the answer holds numbers that are no probabilities")
    return [
        Risk(
            scorer=scorer,
            outcome=reference.outcome,
            probability=round(float(chance), 5),
            model=reference.model,
            model_version=version or reference.version,
            coverage=round(features.coverage(request.features), 3),
            scored_at=scored_at,
            contributions=_strongest(request.features, changes, reference.groups),
        )
        for request, chance, changes in zip(requests, probability[:, 0], contributions, strict=True)
    ]


def _strongest(seen: Features, changes: NDArray[np.floating], groups: Sequence[str]) -> list[Contribution]:
    order = np.argsort(-np.abs(changes), kind="stable")[:MOST_CONTRIBUTIONS]
    return [_contribution(seen, groups[index], float(changes[index])) for index in order if changes[index] != 0]


def _contribution(seen: Features, group: str, change: float) -> Contribution:
    """Positive change: this input raises the risk."""
    value = seen.age if group == "age" else seen.values.get(f"{group}.last")
    return Contribution(feature=group, label=_label(seen, group, value), change=round(change, 5), value=value)


def _label(seen: Features, group: str, value: float | None) -> str:
    if group == "sex":
        return _SEXES.get(seen.sex, "sex")
    if group not in BY_NAME or value is None:
        return f"{group} {value:g}" if value is not None else group
    kind = BY_NAME[group]
    return f"{kind.label} {value:g} {_UNITS.get(kind.unit, kind.unit)}".strip()
