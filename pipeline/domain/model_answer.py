"""A risk model's numbers as a Risk that a person can read, and what must be known of a model to do that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features, model_inputs
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.emergencies import BUNDLES
from pipeline.domain.model_inputs import IMAGE, WORDS, Films
from schemas.assessments import AssessRequest, Contribution, Risk

MOST_CONTRIBUTIONS = 5
_UNITS = {"mm[Hg]": "mmHg", "Cel": "°C", "[pH]": "", "{score}": "", "10*3/uL": "10³/µL"}
_SEXES = {"F": "female", "M": "male"}
_EMERGENCIES = {bundle.code: bundle.label for bundle in BUNDLES}
_NOTHING: Films = {}


class ModelReference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is published beside a model's weights. outcome: what the label was. layout: `features.LAYOUT_VERSION` that it was trained on.

    limits: feature -> the values at which the network's input is clipped. calibration: the weights that join network and trees, by
    condition (see the card), already inside the graph.
    sha256: of the ONNX file.
    What it reads beyond the features, nothing where these are absent: side: pixels of `image`; values, concepts: columns of the inputs of
    that name; buckets: columns of `tokens`, as `order_words` counts them. Each may have a group of its own behind those of the features
    (`model_inputs.groups`).
    """

    model: str
    version: str
    outcome: str
    layout: int
    features: tuple[str, ...]
    groups: tuple[str, ...]
    limits: dict[str, tuple[float, float]]
    calibration: dict[str, tuple[float, ...]]
    sha256: str
    side: int | None = None
    values: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    buckets: int = 0


OUTPUTS = ("risk", "contributions", "spread", "novelty")
"""What every graph of a clinical model gives, in this order."""


class Answer(NamedTuple):
    """Of n patients: risk, spread and novelty [n, 1], contributions [n, groups]."""

    risk: NDArray[np.floating]
    contributions: NDArray[np.floating]
    spread: NDArray[np.floating]
    novelty: NDArray[np.floating]


def risks(
    requests: Sequence[AssessRequest],
    answer: Answer,
    reference: ModelReference,
    scorer: Literal["triton", "onnxruntime"],
    scored_at: datetime,
    version: str | None = None,
    films: Films = _NOTHING,
) -> list[Risk]:
    """One Risk a request; where its own numbers are none, without a probability. `version`: the one that answered, if not the reference's.
    films: that the model was given, or why not.

    Raises ValueError when the answer is not one to these requests.
    """
    column, row = (len(requests), 1), (len(requests), len(reference.groups))
    if tuple(part.shape for part in answer) != (column, row, column, column):
        raise ValueError(f"shapes {[part.shape for part in answer]} are no answer to {len(requests)} requests")
    numbers = np.isfinite(np.hstack(answer)).all(axis=1) & (answer.risk[:, 0] >= 0) & (answer.risk[:, 0] <= 1)
    return [
        by_rules(request, scored_at)
        if not judged
        else Risk(
            scorer=scorer,
            outcome=reference.outcome,
            probability=round(float(chance), 5),
            model=reference.model,
            model_version=version or reference.version,
            coverage=round(_coverage(request, reference, films), 3),
            spread=round(float(spread), 5),
            novelty=round(float(novelty), 3),
            scored_at=scored_at,
            contributions=_strongest(request, changes, reference.groups),
            inputs=model_inputs.given(request, reference, films),
            unseen=model_inputs.unseen(request, reference, films),
        )
        for request, judged, chance, changes, spread, novelty in zip(
            requests, numbers, answer.risk[:, 0], answer.contributions, answer.spread[:, 0], answer.novelty[:, 0], strict=True
        )
    ]


def value_of(request: AssessRequest, group: str) -> float | None:
    """The value of an input that a contribution names; None for one that is no number, or is not there."""
    seen = request.features
    return seen.age if group == "age" else seen.values.get(f"{group}.last", request.values.get(group))


def by_rules(request: AssessRequest, scored_at: datetime) -> Risk:
    """No probability: the evidence of the request stands alone."""
    return Risk(scorer="rules", coverage=round(features.coverage(request.features), 3), scored_at=scored_at)


def _coverage(request: AssessRequest, reference: ModelReference, films: Films) -> float:
    """Words are counted on neither side: an order that suspects nothing has said all it has to say."""
    further = len(reference.values) + (reference.side is not None)
    present = sum(name != WORDS for name in model_inputs.given(request, reference, films))
    return (features.coverage(request.features) * len(features.GROUPS) + present) / (len(features.GROUPS) + further)


def _strongest(request: AssessRequest, changes: NDArray[np.floating], groups: Sequence[str]) -> list[Contribution]:
    order = np.argsort(-np.abs(changes), kind="stable")[:MOST_CONTRIBUTIONS]
    return [_contribution(request, groups[index], float(changes[index])) for index in order if changes[index] != 0]


def _contribution(request: AssessRequest, group: str, change: float) -> Contribution:
    """Positive change: this input raises the risk."""
    value = value_of(request, group)
    return Contribution(feature=group, label=_label(request, group, value), change=round(change, 5), value=value)


def _label(request: AssessRequest, group: str, value: float | None) -> str:
    if group == "sex":
        return _SEXES.get(request.features.sex, "sex")
    if group == IMAGE:
        return "chest film"
    if group == WORDS:
        suspected = ", ".join(f"{_EMERGENCIES[code]} suspected" for code in request.concepts if code in _EMERGENCIES)
        return suspected or "words of the order"
    if group not in BY_NAME or value is None:
        return f"{group} {value:g}" if value is not None else group
    kind = BY_NAME[group]
    return f"{kind.label} {value:g} {_UNITS.get(kind.unit, kind.unit)}".strip()
