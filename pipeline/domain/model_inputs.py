"""What a site's own risk model may read beyond the clinical features: other values, the words of orders, a film; from window to array."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features, indications, order_words
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.emergencies import BUNDLES
from pipeline.domain.readings import Readings
from schemas.assessments import AssessRequest, StudyState

VALUES: tuple[str, ...] = tuple(name for name in BY_NAME if name not in features.OBSERVABLES)
"""What the catalogue has and the clinical features have not."""
CONCEPTS: tuple[str, ...] = tuple(bundle.code for bundle in BUNDLES)
"""Emergencies that words can suspect."""
IMAGE, WORDS = "image", "words"
"""Groups of contributions beside those of the features; every further value is one of its own name."""

Film = NDArray[np.uint8]
Films = Mapping[str, Film | str]
"""Claim check -> the film [side, side], or why there is none, as `Risk.unseen` says it."""
LATE = "late"


class Declared(Protocol):
    """What a model says that it reads beyond the features, as ModelReference has it."""

    @property
    def side(self) -> int | None: ...
    @property
    def values(self) -> tuple[str, ...]: ...
    @property
    def concepts(self) -> tuple[str, ...]: ...
    @property
    def buckets(self) -> int: ...


def newest(readings: Readings, as_of: datetime) -> dict[str, float]:
    """Of each of VALUES, not older than a feature may be. Five digits keep the record short."""
    oldest, found = as_of - features.MAX_AGE, {}
    for name in VALUES:
        for reading in reversed(readings.get(name, ())):
            if oldest <= reading.at <= as_of:
                found[name] = float(f"{reading.value:.5g}")
                break
    return found


def suspected(*texts: str | None) -> tuple[str, ...]:
    """Codes of the emergencies that these words suspect: the one function by which a model learns from words and is asked by them.

    Of a report nothing counts: it comes after the reading that a score is to hasten.
    """
    return tuple(suspicion.bundle.code for suspicion in indications.find(*texts))


def words(studies: Iterable[StudyState]) -> tuple[str | None, ...]:
    """What the orders and the pictures' own descriptions say of what is asked."""
    return tuple(text for study in studies for text in (study.indication, study.description))


def told(request: AssessRequest, declared: Declared) -> tuple[int, ...]:
    """The buckets of its orders' words, for a model that reads them. They go with no request: its studies have the words already."""
    return order_words.buckets(*words(request.studies)) if declared.buckets else ()


def one_hot(codes: Iterable[str], columns: Sequence[str]) -> list[float]:
    """1 for each column that is among the codes."""
    found = set(codes)
    return [float(code in found) for code in columns]


def groups(declared: Declared) -> tuple[str, ...]:
    """Of contributions, behind those of the features."""
    return (*((IMAGE,) if declared.side else ()), *((WORDS,) if declared.concepts or declared.buckets else ()), *declared.values)


def film_of(request: AssessRequest, declared: Declared, films: Films) -> Film | None:
    """The film that the model is given, if any."""
    found = films.get(request.picture) if declared.side and request.picture else None
    return found if isinstance(found, np.ndarray) and found.shape == (declared.side, declared.side) else None


def arrays(requests: Sequence[AssessRequest], declared: Declared, films: Films) -> dict[str, NDArray[Any]]:
    """The graph's inputs behind `features`, a row a request: `values` (NaN where there is none), `concepts`, `tokens` (1 for each bucket
    of the words), and where any row has a film `image` and `has_image`."""
    found: dict[str, NDArray[Any]] = {}
    if declared.values:
        rows = [[request.values.get(name, math.nan) for name in declared.values] for request in requests]
        found["values"] = np.array(rows, np.float32)
    if declared.concepts:
        found["concepts"] = np.array([one_hot(request.concepts, declared.concepts) for request in requests], np.float32)
    if declared.buckets:
        found["tokens"] = np.zeros((len(requests), declared.buckets), np.float32)
        for row, request in zip(found["tokens"], requests, strict=True):
            row[list(told(request, declared))] = 1
    seen = [film_of(request, declared, films) for request in requests]
    if any(film is not None for film in seen):
        blank = np.zeros((declared.side or 0,) * 2, np.uint8)
        found["image"] = np.stack([blank if film is None else film for film in seen])
        found["has_image"] = np.array([[film is not None] for film in seen], np.float32)
    return found


def given(request: AssessRequest, declared: Declared, films: Films) -> tuple[str, ...]:
    """As `Risk.inputs`: what of it there was."""
    image = film_of(request, declared, films) is not None
    heard = not set(declared.concepts).isdisjoint(request.concepts) or bool(told(request, declared))
    return (*((IMAGE,) if image else ()), *((WORDS,) if heard else ()), *(name for name in declared.values if name in request.values))


def unseen(request: AssessRequest, declared: Declared, films: Films) -> str | None:
    """As `Risk.unseen`."""
    if not declared.side or request.picture is None or film_of(request, declared, films) is not None:
        return None
    why = films.get(request.picture)
    return why if isinstance(why, str) else LATE
