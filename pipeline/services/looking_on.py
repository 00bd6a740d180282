"""What is noted beside scoring and never holds it up: a candidate's scores on the same requests, and what the model was asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import structlog
from msgspec.structs import replace

from pipeline.domain import drift
from pipeline.domain.model_inputs import IMAGE
from pipeline.domain.shadow import ShadowScore
from pipeline.errors import Unavailable
from pipeline.ports import Scorer, ShadowScores
from pipeline.services.drift_tally import DriftTally
from schemas.assessments import AssessRequest, Features, Risk

log = structlog.get_logger()

WAITING_MAX = 2_000
"""Requests that wait for the candidate; beyond it the oldest are left out, and counted."""
CHUNK = 64
PAUSE_S = 1.0
FLUSH_S = 30.0

Answered = tuple[AssessRequest, Risk]
Candidate = Callable[[], Scorer | None]
"""The one that looks on at present, if any."""


class Watch(Protocol):
    """Something that is done beside a stage, a second apart."""

    async def look(self) -> None:
        """At what waits. Raises StackError."""
        ...

    async def flush(self) -> None:
        """Stores what was counted."""
        ...


class LookingOn:
    """`note` is called with each answer of the served model; `look` and `flush` do the rest. `left_out` counts what the candidate never
    saw."""

    def __init__(self, candidate: Candidate, scores: ShadowScores, tally: DriftTally) -> None:
        self._candidate = candidate
        self._scores = scores
        self.tally = tally
        self._waiting: deque[Answered] = deque()
        self.left_out = 0
        self.scored = 0

    def note(self, requests: Sequence[AssessRequest], risks: Sequence[Risk]) -> None:
        """Costs nothing that waits, and raises nothing."""
        for request, risk in zip(requests, risks, strict=True):
            if risk.probability is None:
                continue
            self.tally.note(risk.model_version or "", partial(drift.bins, seen=_all(request, risk), risk=risk))
            self._waiting.append((request, risk))
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.left_out += 1

    async def look(self) -> None:
        """Lets the candidate score what waits."""
        candidate = self._candidate()
        if candidate is None:
            self._waiting.clear()
            return
        while self._waiting:
            part = [self._waiting.popleft() for _ in range(min(CHUNK, len(self._waiting)))]
            try:
                answers = await candidate.score([request for request, _ in part])
                await self._scores.add([score for pair in zip(part, answers, strict=True) if (score := _score(*pair)) is not None])
            except Unavailable as error:
                self.left_out += len(part)
                log.warning("shadow_left_out", requests=len(part), reason=str(error))
                return
            self.scored += len(part)

    async def flush(self) -> None:
        """As DriftTally.flush."""
        await self.tally.flush()


async def watching(watch: Watch) -> None:
    """Until cancelled, whatever goes wrong; what was counted and not yet stored is stored at the end."""
    since, not_looking, not_stored = 0.0, "", ""
    try:
        while True:
            await asyncio.sleep(PAUSE_S)
            not_looking = await _whatever_goes_wrong(watch.look, not_looking)
            if since >= FLUSH_S:
                since = 0.0
                not_stored = await _whatever_goes_wrong(watch.flush, not_stored)
            since += PAUSE_S
    finally:
        await watch.flush()


async def _whatever_goes_wrong(step: Callable[[], Awaitable[None]], told: str) -> str:
    """What went wrong, if anything; told unless that was told the last time. Otherwise nobody would notice that nothing looks on any more;
    and what cannot look goes on counting."""
    try:
        await step()
    except Exception as error:
        reason = f"{type(error).__name__} {error}"
        if reason != told:
            log.warning("shadow_cannot_look", reason=reason)
        return reason
    return ""


def _all(request: AssessRequest, risk: Risk) -> Features:
    """What a model may have read, under the names by which drift is counted; of a film, whether it had one."""
    further = {**request.values, **({IMAGE: 1.0} if IMAGE in risk.inputs else {})}
    seen = {**request.features.values, **{f"{name}.last": value for name, value in further.items()}}
    return replace(request.features, values=seen)


def _score(answered: Answered, shadow: Risk) -> ShadowScore | None:
    request, served = answered
    if served.probability is None or shadow.probability is None or served.scored_at is None:
        return None
    versions = served.model_version or "", shadow.model_version or ""
    return ShadowScore(
        request.patient, request.context_version, served.scored_at, versions[0], served.probability, versions[1], shadow.probability
    )
