"""How much each single reading moved the risk of a study on the list: worked out from the facts when somebody asks, not while scoring.

An item does not keep what its model was asked. It is made again from the patient's facts as they were known shortly before the score, and
counts only if the same version gives the same probability; else nothing is told. A film that the score looked at is among these facts: what
they name is never written over in the object store. It is given with every request, so that a reading's change is beside the same film.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Literal

from pipeline.domain import attribution, features
from pipeline.domain.attribution import Asked, Effect
from pipeline.domain.model_inputs import IMAGE, LATE
from pipeline.domain.window import derive
from pipeline.errors import NotFound, StackError, Unavailable
from pipeline.ports import Scorer, WorklistReader
from pipeline.services.assessing import request, view
from schemas.assessments import Risk
from schemas.events import AnyEvent, ObservationEvent
from schemas.worklist import WorklistItem

LOOK_BACK, MOST_ASKED = 64, 16
"""So many moments before the score, at each of which something was learned, are made again; so many of them the model is asked about."""
CLOCKS_APART = timedelta(seconds=5)
"""By how much the clock of a scoring worker may be behind a gateway's."""
TOLERANCE = 0.002
"""Triton on a GPU may reckon in half precision; and topics keep no order among each other, so a moment may be met by a value or two."""
MOST_EVENTS = 20_000
"""Of a patient, the newest: some days of a value a minute."""
MOST_DERIVED = 100_000
"""Events that windows are derived of anew, where each moment is of late or corrected values: some 2 s. A long history has fewer moments."""
MOST_WAITING = 8
"""Who asks while so many are waiting is told so; nobody waits for more than these."""
LONGEST_WAIT_S = 8.0
"""For one's turn: each film that cannot be had may take seconds."""
MOST_KEPT = 16
"""Answers, and films, for whoever asks the same once more."""

WhyNot = Literal["no-score", "film-gone", "film-late", "film-unread", "version", "not-reproduced", "no-answer", "busy"]
WORDS: dict[WhyNot, str] = {
    "no-score": "No model has scored this study: the rules alone speak.",
    "film-gone": "The chest film that this score looked at is not in the picture archive any more, so nothing is told of single readings.",
    "film-late": "The chest film that this score looked at has not been read again yet; try again in a moment.",
    "film-unread": "The chest film that this score looked at could not be read again, so nothing is told of single readings.",
    "version": "The version of the model that gave this score is not on this server.",
    "not-reproduced": "This score cannot be reproduced from the facts that are kept, so nothing is told of single readings.",
    "no-answer": "The model did not answer here.",
    "busy": "Too many readings are being worked out; try again in a moment.",
}

ScorerOf = Callable[[str], Scorer]
"""The scorer of one version. Raises NotFound or StackError where that is not here, or damaged. Called in a thread."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """effects: of the readings behind the observables that moved the risk, strongest first. why_not: then there are none; as in WORDS.

    probability: with everything, as of `as_of`, the time that the score knew of (UTC), by model_version. newer: values that came since.
    film: whether the score looked at a chest film, which was given every time.
    """

    effects: Sequence[Effect] = ()
    probability: float | None = None
    model_version: str | None = None
    as_of: datetime | None = None
    newer: int = 0
    film: bool = False
    why_not: WhyNot | None = None


class RiskAttribution:
    """One study at a time: who waits does so here and not for the processor that the page needs."""

    def __init__(self, reader: WorklistReader, scorer_of: ScorerOf) -> None:
        self._reader = reader
        self._scorer_of = scorer_of
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._kept: dict[tuple[object, ...], Attribution] = {}

    async def of_study(self, study_uid: str) -> Attribution:
        """Raises NotFound for a study that is not on the list, Unavailable where its store does not answer."""
        item = (await self._reader.get(study_uid)).item
        risk = item.risk
        if risk is None or risk.probability is None or risk.model_version is None:
            return Attribution(why_not="no-score")
        if self._waiting >= MOST_WAITING:
            return Attribution(why_not="busy")
        self._waiting += 1
        try:
            return await self._in_turn(item, risk, risk.model_version)
        finally:
            self._waiting -= 1

    async def _in_turn(self, item: WorklistItem, risk: Risk, version: str) -> Attribution:
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            return Attribution(why_not="busy")
        try:
            return await self._once(item, risk, version)
        finally:
            self._turn.release()

    async def _once(self, item: WorklistItem, risk: Risk, version: str) -> Attribution:
        """Worked out unless it was lately, of the same context and score."""
        key = (item.study.study_uid, item.context_version, version, risk.probability, risk.scored_at)
        if (known := self._kept.get(key)) is not None:
            return known
        found = await self._work_out(item, risk, version)
        if found.why_not is None:
            self._kept[key] = found
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return found

    async def _work_out(self, item: WorklistItem, risk: Risk, version: str) -> Attribution:
        try:
            scorer = await asyncio.to_thread(self._scorer_of, version)
        except (NotFound, StackError):
            return Attribution(why_not="version")
        events = await self._reader.patient_events(item.patient, limit=MOST_EVENTS)
        candidates = await asyncio.to_thread(as_it_was, item, risk, events)
        try:
            return await _told(risk, candidates, scorer, events)
        except Unavailable:
            return Attribution(why_not="no-answer")


def as_it_was(item: WorklistItem, risk: Risk, events: Iterable[AnyEvent]) -> list[Asked]:
    """What the model may have been asked: at the last moments before the score, the newest first. events: the patient's, in any order.

    An item may be ahead of its risk, where nothing has come of a later context yet, or nothing that a reader would see.
    """
    until = item.as_of if risk.scored_at is None else min(item.as_of, risk.scored_at + CLOCKS_APART)
    known = {(event.recorded_at, event.event_id): event for event in events if event.recorded_at <= until}
    steps = [list(step) for _, step in groupby((known[version] for version in sorted(known)), key=attrgetter("recorded_at"))]
    first = max(len(steps) - min(LOOK_BACK, MOST_DERIVED // max(len(known), 1)), 0)
    so_far = [event for step in steps[:first] for event in step]
    window, found = derive(so_far), []
    for step in steps[first:]:
        so_far += step
        if not all(window.apply(event) for event in step):
            window = derive(so_far)
        if window.as_of is None:
            continue
        seen = view(window, window.open_studies, lambda *_: [], features.extract)
        asked = request(item.patient, item.context_version, seen, step[-1].recorded_at, None)
        if attribution.may_answer(risk, asked):
            found.append(Asked(asked, window.readings, window.tallies))
    return found[: -MOST_ASKED - 1 : -1]


async def _told(risk: Risk, candidates: Sequence[Asked], scorer: Scorer, events: Iterable[AnyEvent]) -> Attribution:
    """Raises Unavailable."""
    look, unseen = IMAGE in risk.inputs, dict[str | None, str]()
    for some in (candidates[:1], candidates[1:]):  # nearly always it is the newest
        part = [one for one in some if one.request.picture not in unseen]
        answers = await scorer.score([one.request for one in part], look=look)
        alike = [(_apart(answer, risk), place) for place, answer in enumerate(answers) if _apart(answer, risk) <= TOLERANCE]
        if alike:
            place = min(alike)[1]
            break
        if look:
            unseen |= {one.request.picture: answer.unseen for one, answer in zip(part, answers, strict=True) if answer.unseen}
    else:
        return Attribution(why_not=_without_film(next(iter(unseen.values()))) if unseen else "not-reproduced")
    asked, whole = part[place], answers[place]
    left_out = await asyncio.to_thread(attribution.leave_one_out, asked, attribution.moving(risk))
    answers = await scorer.score([one.request for one in left_out], look=look)
    if look and (lost := next((answer.unseen for answer in answers if answer.unseen), None)):
        return Attribution(why_not=_without_film(lost))
    changes = attribution.effects(whole, left_out, answers)
    since = asked.request.recorded_at
    newer = sum(len(event.observations) for event in events if isinstance(event, ObservationEvent) and event.recorded_at > since)
    return Attribution(changes, whole.probability, whole.model_version, asked.request.as_of, newer, look)


def _without_film(unseen: str) -> WhyNot:
    """What `Risk.unseen` means to who asked."""
    known: dict[str, WhyNot] = {"gone": "film-gone", LATE: "film-late"}
    return known.get(unseen, "film-unread")


def _apart(answer: Risk, risk: Risk) -> float:
    """Between two probabilities, or what the film did to them; beyond any tolerance where the answer's inputs are not those of the risk."""
    if answer.probability is None or risk.probability is None or (answer.coverage, answer.inputs) != (risk.coverage, risk.inputs):
        return 1.0
    told, known = ([one.change for one in of.contributions if one.feature == IMAGE] for of in (answer, risk))
    return max(abs(answer.probability - risk.probability), *(abs(one - other) for one, other in zip(told, known, strict=False)), 0.0)
