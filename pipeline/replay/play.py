"""Replays a small log for a test or a notebook, outside any event loop, and gives back what can be asked in the user's words."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Literal

from pipeline.adapters.memory.clock import ManualClock
from pipeline.domain.site import DEFAULT, Policy
from pipeline.errors import Unavailable
from pipeline.ports import Scorer
from pipeline.replay.engine import BATCH, Replayed, quietly, replay
from pipeline.replay.escalations import escalations
from pipeline.replay.past import Change, Names
from pipeline.replay.played import Played
from pipeline.replay.scorers import model_scorer
from pipeline.replay.small_log import SmallLog
from pipeline.replay.vocabulary import one_of
from schemas.assessments import AssessRequest, Risk

Scores = Literal["rules", "model", "recorded"]
Moment = str | datetime


def play(
    log: SmallLog,
    *,
    policy: Policy = DEFAULT,
    scorer: Scores = "rules",
    until: Moment | None = None,
    batch_size: int = BATCH,
    restarts: Collection[int] = (),
    model_down: tuple[Moment, Moment] | None = None,
) -> Played:
    """scorer: "rules" alone, the shipped "model", or the scores "recorded" in the log. until: the last moment that is replayed.

    batch_size, restarts: records a transaction, and after how many records the workers die and come again; the ranking must not care.
    model_down: from when to when the model does not answer. Raises WrittenWrong, ModelAbsent.
    """
    one_of("scorer", scorer, Scores)
    clock = ManualClock()
    asked: Scorer | Literal["recorded"] | None = None if scorer == "rules" else "recorded"
    if scorer == "model":
        asked = model_scorer({}, clock)
        if model_down is not None:
            begins, ends = (log.day.moment(moment) for moment in model_down)
            asked = _Interrupted(asked, clock, begins, ends)
    end = log.day.moment(until) if until is not None else None
    running = replay(
        log.records, policy=policy, scorer=asked, heads=log.heads, until=end, batch_size=batch_size, restarts=restarts, clock=clock
    )
    with ThreadPoolExecutor(1) as outside:  # a test may itself run in an event loop
        return outside.submit(asyncio.run, _played(running, log, policy, end)).result()


async def _played(running: Coroutine[Any, Any, Replayed], log: SmallLog, policy: Policy, until: datetime | None) -> Played:
    replayed = await running
    changes = sorted((Change(move.at, move.item, move.cause) for move in replayed.history), key=lambda change: change.at)
    with quietly():
        told = await escalations(changes, policy.escalation, until)
    return Played(
        changes=changes,
        escalations=told,
        digest=replayed.digest,
        state_digest=replayed.state_digest,
        events=replayed.events,
        day=log.day,
        names=Names(log.names),
        ignored=replayed.ignored,
        dead_lettered=replayed.dead_lettered,
    )


class _Interrupted:
    """Scorer: one that does not answer for a while."""

    def __init__(self, scorer: Scorer, clock: ManualClock, begins: datetime, ends: datetime) -> None:
        self._scorer = scorer
        self._clock = clock
        self._begins = begins
        self._ends = ends

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score."""
        if self._begins <= self._clock.now() < self._ends:
            raise Unavailable("the model does not answer (ordered by the test)")
        return await self._scorer.score(requests, look=look)
