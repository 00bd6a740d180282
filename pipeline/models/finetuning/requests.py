"""A pair as the request that the stream would make of it, so that what is tested is what is asked live."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features, model_inputs
from pipeline.domain.readings import Reading
from pipeline.models.evaluation.summary import age_bands
from pipeline.models.finetuning.pairs import Pair
from schemas.assessments import AssessRequest, Features, StudyState

_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""The time of every picture: only the hours before it count."""
_OLDEST = features.MAX_AGE.total_seconds() / 3600


def request(pair: Pair) -> AssessRequest:
    """picture: the digest of the pair's, None where there is none."""
    return AssessRequest(
        event_id=str(pair.line),
        patient=pair.patient,
        context_version=1,
        as_of=_AT,
        recorded_at=_AT,
        urgency=1,
        studies=[StudyState(study_uid=pair.study, ready_at=_AT, indication=pair.text)] if pair.text else [],
        features=clinical(pair),
        values=newest(pair),
        concepts=model_inputs.suspected(pair.text),
        picture=pair.digest,
        sex=pair.sex,
        age=pair.age,
    )


def clinical(pair: Pair) -> Features:
    """What the shipped clinical model reads."""
    readings: dict[str, list[Reading]] = {}
    for seen in sorted(pair.observations, key=lambda one: -one.hours):
        readings.setdefault(seen.name, []).append(Reading(_AT - timedelta(hours=min(seen.hours, 1e5)), seen.value))
    return features.extract(readings, _AT, pair.age, pair.sex)


def newest(pair: Pair) -> dict[str, float]:
    """Of each observation, not older than the clinical features may be."""
    ordered = sorted(pair.observations, key=lambda one: -one.hours)
    return {seen.name: seen.value for seen in ordered if seen.hours <= _OLDEST}


def members(pairs: Sequence[Pair]) -> dict[str, NDArray[np.bool_]]:
    """Subgroups by every column that the manifest filled."""
    found: dict[str, NDArray[np.bool_]] = {}
    for column in ("projection", "hospital", "scanner", "sex"):
        told = np.array([str(getattr(pair, column)) for pair in pairs])
        found |= {f"{column} {value}": told == value for value in sorted(set(told) - {"", "U"})}
    age = np.array([np.nan if pair.age is None else pair.age for pair in pairs])
    bands = age_bands(age)
    return found | {name: inside for name, inside in bands.items() if inside.any()}
