"""The scoring stage: requests in, assessments with a risk out, most urgent first; the model away, by the next best and again later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from pipeline.domain import features
from pipeline.errors import Unavailable
from pipeline.ports import Batch, Clock, DegradedScore, DegradedScores, EventLog, OffsetStore, Received, Record, Scorer
from pipeline.services.assessing import answer
from pipeline.services.batch import Outcome, unapplied
from pipeline.services.breaker import CircuitBreaker
from pipeline.services.dead_letters import dead_letter
from schemas import codec
from schemas.assessments import AssessRequest, Risk
from schemas.identifiers import event_id
from schemas.topics import ASSESSMENTS

log = structlog.get_logger()

CHUNK = 64
"""Requests asked at once: small enough that the urgent ones don't wait for the rest, as large as Triton's largest batch."""
RESCORE_EVERY = timedelta(seconds=5)
"""How often `rescore` is to be called."""
MOST_REMEMBERED = 2_000
"""Patients with a degraded score that a worker keeps for scoring again; beyond it the oldest goes, and waits for the next worker."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and the trace it belongs to."""

    request: AssessRequest
    trace_id: str

    def answered_by(self, choice: int) -> DegradedScore:
        """`choice`: the place of the one that answered among the scorers, the rules being last."""
        return DegradedScore(self.request, self.trace_id, choice)


@dataclass(frozen=True, slots=True)
class _Degraded:
    """As DegradedScore, by the request that this worker knows it by."""

    asked: _Asked
    choice: int


Note = Callable[[Sequence[AssessRequest], Sequence[Risk]], None]


def _nobody(_requests: Sequence[AssessRequest], _risks: Sequence[Risk]) -> None:
    """Nobody looks on."""


class ScoringStage:
    """Handles batches of `assess`. The counters are for metrics: `degraded` counts answers that were not the first choice's."""

    def __init__(
        self,
        offsets: OffsetStore,
        degraded: DegradedScores,
        log: EventLog,
        primary: Scorer | None,
        fallback: Scorer | None,
        clock: Clock,
        group: str,
        note: Note = _nobody,
    ) -> None:
        """note: told of each answer of a model, after it was sent."""
        self._offsets = offsets
        self._store = degraded
        self._log = log
        self._clock = clock
        self._group = group
        self._note = note
        self._choices = [(scorer, CircuitBreaker(clock)) for scorer in (primary, fallback) if scorer is not None]
        self._remembered: dict[str, _Degraded] = {}
        self._recalled = False
        self.scored = 0
        self.degraded = 0
        self.superseded = 0
        self.dead_lettered = 0
        self.rescored = 0

    @property
    def tripped(self) -> list[bool]:
        """For each choice of scorer, whether it is given up for now."""
        return [breaker.tripped for _, breaker in self._choices]

    @property
    def waiting(self) -> int:
        """Patients whose degraded score waits for the model."""
        return len(self._remembered)

    def forget(self) -> None:
        """Nothing here depends on owning a partition: a patient who is another worker's now gets the same score under the same event id."""

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Scores the newest request of each patient and produces the assessments, then notes the applied offsets. Raises Unavailable."""
        await self._recall()
        async with self._offsets.begin(self._group, [batch.place for batch in batches]) as transaction:
            pending = unapplied(transaction.applied, batches)
            if not pending.fresh:
                return pending.outcomes
            asked, letters = self._decode(pending.records)
            latest = _latest(asked)
            if letters:
                await self._log.append(letters)
            for chunk in _chunks(latest):
                await self._answer(chunk)
            await transaction.advance(pending.offsets)
        self.superseded += len(asked) - len(latest)
        self.dead_lettered += len(letters)
        log.info(
            "batch_scored", requests=len(latest), superseded=len(asked) - len(latest), dead_lettered=len(letters), waiting=self.waiting
        )
        return pending.outcomes

    async def rescore(self) -> int:
        """Scores the remembered patients again where a better choice is back; returns how many."""
        try:
            await self._recall()
            return await self._rescore()
        except Unavailable:
            log.warning("rescore_put_off", reason="a store does not answer", waiting=self.waiting)
            return 0

    async def _rescore(self) -> int:
        done = 0
        for chunk in _chunks([degraded.asked for degraded in self._remembered.values()]):
            done += await self._improve(chunk)
        self.rescored += done
        if done:
            log.info("degraded_scores_replaced", count=done, waiting=self.waiting)
        return done

    def _decode(self, records: Sequence[Received]) -> tuple[list[_Asked], list[Record]]:
        asked, letters, now = [], [], self._clock.now()
        for record in records:
            try:
                request = codec.decode(record.topic, record.body)
            except codec.UndecodableRecord as error:
                letters.append(dead_letter(record, error.reason, error.explanation, now))
                continue
            if record.key.decode(errors="replace") != request.patient:
                letters.append(dead_letter(record, "wrong-key", "the Kafka key is not the request's patient", now))
                continue
            asked.append(_Asked(request, record.headers.get("trace_id", "")))
        return asked, letters

    async def _answer(self, chunk: Sequence[_Asked]) -> None:
        choice, risks = await self._ask(chunk, before=len(self._choices))
        await self._log.append([self._record(asked, risk, choice) for asked, risk in zip(chunk, risks, strict=True)])
        await self._remember(chunk, choice)
        self._note([asked.request for asked in chunk], risks)
        self.scored += len(chunk)
        self.degraded += len(chunk) if choice else 0

    async def _improve(self, chunk: Sequence[_Asked]) -> int:
        """Only answers that are better than those sent are sent; the rest goes on waiting."""
        worst = max((known.choice for asked in chunk if (known := self._known(asked))), default=0)
        if worst == 0:
            return 0
        choice, risks = await self._ask(chunk, before=worst)
        answers = zip(chunk, risks, strict=True)
        better = [(asked, risk) for asked, risk in answers if (known := self._known(asked)) and choice < known.choice]
        await self._log.append([self._record(asked, risk, choice) for asked, risk in better])
        await self._remember([asked for asked, _ in better if self._known(asked)], choice)
        return len(better)

    def _known(self, asked: _Asked) -> _Degraded | None:
        """What is remembered of this very request; None once a newer one of the patient has come in between."""
        known = self._remembered.get(asked.request.patient)
        return known if known is not None and known.asked is asked else None

    async def _ask(self, chunk: Sequence[_Asked], before: int) -> tuple[int, Sequence[Risk]]:
        """The first of the choices `before` that answers, or the rules: their place is after the last scorer's."""
        requests = [asked.request for asked in chunk]
        for place, (scorer, breaker) in enumerate(self._choices[:before]):
            if not breaker.allows():
                continue
            try:
                risks = await scorer.score(requests)
            except Unavailable as error:
                breaker.failed()
                log.warning("scorer_unavailable", choice=place, requests=len(requests), reason=str(error), breaker_open=breaker.is_open)
                continue
            breaker.succeeded()
            return place, risks
        return max(len(self._choices), 1), [self._by_rules(request) for request in requests]

    def _by_rules(self, request: AssessRequest) -> Risk:
        """No probability: the evidence of the request stands alone."""
        return Risk(scorer="rules", coverage=round(features.coverage(request.features), 3), scored_at=self._clock.now())

    def _record(self, asked: _Asked, risk: Risk, choice: int) -> Record:
        request = asked.request
        identity = event_id("scoring", f"{request.patient}:{request.context_version}:{risk.scorer}")
        assessment = answer(request, identity, risk, choice > 0, self._clock.now())
        headers = {"event_id": identity, "trace_id": asked.trace_id, "source": "scoring"}
        return Record(ASSESSMENTS, request.patient.encode(), codec.encode(assessment), headers)

    async def _recall(self) -> None:
        """What an earlier worker left to be scored again, once."""
        if self._recalled:
            return
        for left in await self._store.all():
            self._remembered.setdefault(left.request.patient, _Degraded(_Asked(left.request, left.trace_id), left.choice))
        self._recalled = True

    async def _remember(self, chunk: Sequence[_Asked], choice: int) -> None:
        """In the store first: a worker that dies in between scores once more than it had to."""
        if choice > 0:
            await self._store.note([asked.answered_by(choice) for asked in chunk])
        elif known := [asked.request for asked in chunk if asked.request.patient in self._remembered]:
            await self._store.clear({request.patient: request.context_version for request in known})
        for asked in chunk:
            earlier = self._remembered.get(asked.request.patient)
            if earlier is not None and earlier.asked.request.context_version > asked.request.context_version:
                continue
            self._remembered.pop(asked.request.patient, None)
            if choice > 0:
                self._remembered[asked.request.patient] = _Degraded(asked, choice)
        while len(self._remembered) > MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]


def _latest(asked: Sequence[_Asked]) -> list[_Asked]:
    """The newest request of each patient."""
    latest: dict[str, _Asked] = {}
    for one in asked:
        known = latest.get(one.request.patient)
        if known is None or one.request.context_version >= known.request.context_version:
            latest[one.request.patient] = one
    return list(latest.values())


def _chunks(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """Most urgent first, in the order of coming within one urgency."""
    ordered = sorted(asked, key=lambda one: one.request.urgency)
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]
