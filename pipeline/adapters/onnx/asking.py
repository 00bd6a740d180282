"""What a risk model is asked beside its features, for every scorer the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from pipeline.domain import model_inputs
from pipeline.domain.model_answer import ModelReference
from pipeline.domain.model_inputs import Film, Films
from pipeline.ports import FilmSource
from schemas.assessments import AssessRequest, Risk


class Patience(NamedTuple):
    """How many films a score takes at once, how long it waits for them, and how many of them it has read at a time."""

    films: int
    seconds: float
    together: int


SCORE = Patience(4, 0.25, 4)
"""Looking at a film takes a processor some 30 ms, and a score has half a second. The other requests are scored without, and again with
theirs.
"""
BESIDE = Patience(64, 30.0, 1)
"""Of a version that looks on: nobody waits for it, and at most one film is read before those that a score waits for."""


def by_order(request: AssessRequest, reference: ModelReference) -> list[AssessRequest]:
    """The questions that a patient is asked about: of a model that reads words, one for each order that waits, by its own words alone.

    So a site's version was taught, a row a study; the words of two orders together would be a question that it has never met. The request
    as it is where its studies do not have the words that its concepts came from.
    """
    if len(request.studies) < 2 or not (reference.concepts or reference.buckets):
        return [request]
    each: dict[tuple[object, ...], AssessRequest] = {}
    for study in request.studies:
        alone = replace(request, studies=[study], concepts=model_inputs.suspected(*model_inputs.words([study])))
        each.setdefault((alone.concepts, model_inputs.told(alone, reference)), alone)
    heard = {concept for alone in each.values() for concept in alone.concepts}
    return list(each.values()) if heard >= set(request.concepts) else [request]


def highest(asked: Sequence[Sequence[AssessRequest]], risks: Sequence[Risk]) -> list[Risk]:
    """Of each patient's questions the answer that counts: a patient has one risk, and no order's is hidden behind another's. risks: of all
    questions, in their order."""
    told = iter(risks)
    return [max((next(told) for _ in questions), key=_probability) for questions in asked]


def _probability(risk: Risk) -> float:
    return -1.0 if risk.probability is None else risk.probability


async def films_for(requests: Sequence[AssessRequest], reference: ModelReference, source: FilmSource | None, patience: Patience) -> Films:
    """Those of the most urgent requests, as far as they are there in time; none for a model that reads none."""
    if reference.side is None:
        return {}
    if source is None:
        return {request.picture: "no-reader" for request in requests if request.picture is not None}
    named = (request.picture for request in sorted(requests, key=lambda request: request.urgency) if request.picture is not None)
    wanted = list(dict.fromkeys(named))[: patience.films]
    loop, found = asyncio.get_running_loop(), dict[str, Film | str]()
    until = loop.time() + patience.seconds
    for start in range(0, len(wanted), patience.together):
        if start and loop.time() >= until:
            break
        found |= await source.get(wanted[start : start + patience.together], reference.side, max(until - loop.time(), 0.0))
    return found
