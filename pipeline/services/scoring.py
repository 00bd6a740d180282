"""The scoring stage: requests in, assessments with a risk out, most urgent first; the model away, by the next best and again later.

So, too, where the model reads a film that is not prepared yet: scored without it at once, and again with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from pipeline.domain.model_answer import by_rules
from pipeline.domain.model_inputs import LATE
from pipeline.errors import Unavailable
from pipeline.ports import Batch, Clock, DegradedScore, DegradedScores, EventLog, OffsetStore, Record, Scorer
from pipeline.services.assessing import URGENCIES, answer
from pipeline.services.batch import Outcome, unapplied
from pipeline.services.breaker import CircuitBreaker
from pipeline.services.dead_letters import readable, reasons
from schemas import codec
from schemas.assessments import AssessRequest, Risk
from schemas.identifiers import event_id
from schemas.topics import ASSESSMENTS

log = structlog.get_logger()

CHUNK = 64
"""Requests asked at once: small enough that the urgent ones don't wait for the rest, as large as Triton's largest batch."""
RESCORE_EVERY = timedelta(seconds=5)
"""How often `rescore` is to be called."""
LATE_AT_ONCE = 4
"""Requests asked again at once whose film was late: as many as a scorer gives films."""
MOST_REMEMBERED = 2_000
"""Patients whose score is to be replaced that a worker keeps; beyond it the oldest goes, and waits for the next worker."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and the trace it belongs to."""

    request: AssessRequest
    trace_id: str


@dataclass(frozen=True, slots=True)
class _Degraded:
    """As DegradedScore, by the request that this worker knows it by. choice: as `_Answered.worth`."""

    asked: _Asked
    choice: int
    late: bool = False


@dataclass(frozen=True, slots=True)
class _Answered:
    """choice: the place of the one that answered among the scorers, the rules being last."""

    asked: _Asked
    risk: Risk
    choice: int

    @property
    def late(self) -> bool:
        """Whether the same scorer will say more once the film is prepared."""
        return self.risk.unseen == LATE

    @property
    def worth(self) -> int:
        """What is to be scored again until it is 0: a late film counts as the next choice."""
        return self.choice + self.late


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
        self._in_hand: Sequence[Sequence[_Asked]] = ()
        self.scored = 0
        self.degraded = 0
        self.superseded = 0
        self.dead_lettered: Counter[str] = Counter()
        self.rescored = 0

    @property
    def tripped(self) -> list[bool]:
        """For each choice of scorer, whether it is given up for now."""
        return [breaker.tripped for _, breaker in self._choices]

    @property
    def backlog(self) -> Mapping[int, int]:
        """Urgency -> requests in hand that nobody has answered yet. Safe to ask from any thread."""
        return dict.fromkeys(URGENCIES, 0) | Counter(asked.request.urgency for chunk in self._in_hand for asked in chunk)

    @property
    def waiting(self) -> int:
        """Patients whose score waits for the model, or for a film."""
        return len(self._remembered)

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Scores the newest request of each patient and produces the assessments, then notes the applied offsets. Raises Unavailable."""
        await self._recall()
        async with self._offsets.begin(self._group, [batch.place for batch in batches]) as transaction:
            pending = unapplied(transaction.applied, batches)
            if not pending.fresh:
                return pending.outcomes
            requests, letters = readable(pending.records, self._clock.now())
            latest = _latest([_Asked(request, record.headers.get("trace_id", "")) for record, request in requests])
            if letters:
                await self._log.append(letters)
            await self._answer_all(latest)
            await transaction.advance(pending.offsets)
        self.superseded += len(requests) - len(latest)
        self.dead_lettered.update(reasons(letters))
        log.info(
            "batch_scored", requests=len(latest), superseded=len(requests) - len(latest), dead_lettered=len(letters), waiting=self.waiting
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
        late = [degraded.asked for degraded in self._remembered.values() if degraded.late]
        rest = [degraded.asked for degraded in self._remembered.values() if not degraded.late]
        for chunk in _chunks(rest):
            done += await self._improve(chunk)
        for chunk in _chunks(late, LATE_AT_ONCE):
            seen = await self._improve(chunk)
            done += seen
            if not seen:  # what keeps these films away may keep all: others are tried next time, and Triton is not kept busy in vain
                self._put_last(chunk)
                break
        self.rescored += done
        if done:
            log.info("degraded_scores_replaced", count=done, waiting=self.waiting)
        return done

    def _put_last(self, chunk: Sequence[_Asked]) -> None:
        for asked in chunk:
            if self._known(asked) is not None:
                self._remembered[asked.request.patient] = self._remembered.pop(asked.request.patient)

    async def _answer_all(self, latest: Sequence[_Asked]) -> None:
        """Only the most urgent may wait for a film: a backlog has its scores first, and its films by `rescore`."""
        chunks = list(_chunks(latest))
        try:
            for number, chunk in enumerate(chunks):
                self._in_hand = chunks[number:]
                await self._answer(chunk, look=number == 0)
        finally:
            self._in_hand = ()

    async def _answer(self, chunk: Sequence[_Asked], look: bool) -> None:
        answers = await self._ask(chunk, before=len(self._choices), look=look)
        await self._log.append([self._record(one) for one in answers])
        await self._remember(answers)
        self._tell([one for one in answers if not one.late])
        self.scored += len(answers)
        self.degraded += sum(one.choice > 0 for one in answers)

    async def _improve(self, chunk: Sequence[_Asked]) -> int:
        """Only answers that are better than those sent are sent; the rest goes on waiting."""
        worst = max((known.choice for asked in chunk if (known := self._known(asked))), default=0)
        if worst == 0:
            return 0
        answers = await self._ask(chunk, before=worst)
        better = [one for one in answers if (known := self._known(one.asked)) and one.worth < known.choice]
        seen = [one for one in better if (known := self._known(one.asked)) and known.late and not one.late]
        await self._log.append([self._record(one) for one in better])
        await self._remember([one for one in better if self._known(one.asked)])
        for one in answers:  # an earlier worker's note does not say that it was for want of a film
            if one.late and (known := self._known(one.asked)) and known.choice == one.worth:
                self._remembered[one.asked.request.patient] = replace(known, late=True)
        self._tell(seen)
        return len(better)

    def _tell(self, answers: Sequence[_Answered]) -> None:
        """Who looks on is told once of a request: of a late film's, when it was there."""
        self._note([one.asked.request for one in answers], [one.risk for one in answers])

    def _known(self, asked: _Asked) -> _Degraded | None:
        """What is remembered of this very request; None once a newer one of the patient has come in between."""
        known = self._remembered.get(asked.request.patient)
        return known if known is not None and known.asked is asked else None

    async def _ask(self, chunk: Sequence[_Asked], before: int, look: bool = True) -> list[_Answered]:
        """Each by the first of the choices `before` with a probability for it, or by the rules, whose place is after the last scorer's."""
        found: dict[str, _Answered] = {}
        for place, (scorer, breaker) in enumerate(self._choices[:before]):
            left = [asked for asked in chunk if asked.request.patient not in found]
            if not left or not breaker.allows():
                continue
            requests = [asked.request for asked in left]
            try:
                risks = await scorer.score(requests, look=look)
            except Unavailable as error:
                breaker.failed()
                log.warning("scorer_unavailable", choice=place, requests=len(requests), reason=str(error), breaker_open=breaker.is_open)
                continue
            breaker.succeeded()
            judged = [_Answered(asked, risk, place) for asked, risk in zip(left, risks, strict=True) if risk.probability is not None]
            if len(judged) < len(left):
                log.warning("scorer_gave_no_probability", choice=place, requests=len(left) - len(judged))
            found |= {one.asked.request.patient: one for one in judged}
        return [found.get(asked.request.patient) or self._by_rules(asked) for asked in chunk]

    def _by_rules(self, asked: _Asked) -> _Answered:
        return _Answered(asked, by_rules(asked.request, self._clock.now()), max(len(self._choices), 1))

    def _record(self, answered: _Answered) -> Record:
        request, risk = answered.asked.request, answered.risk
        identity = event_id("scoring", f"{request.patient}:{request.context_version}:{risk.scorer}{':late' if answered.late else ''}")
        assessment = answer(request, identity, risk, answered.choice > 0, self._clock.now())
        headers = {"event_id": identity, "trace_id": answered.asked.trace_id, "source": "scoring"}
        return Record(ASSESSMENTS, request.patient.encode(), codec.encode(assessment), headers)

    async def _recall(self) -> None:
        """What an earlier worker left to be scored again, once."""
        if self._recalled:
            return
        for left in await self._store.all():
            self._remembered.setdefault(left.request.patient, _Degraded(_Asked(left.request, left.trace_id), left.choice))
        self._recalled = True

    async def _remember(self, answers: Sequence[_Answered]) -> None:
        """In the store first: a worker that dies in between scores once more than it had to."""
        if lesser := [DegradedScore(one.asked.request, one.asked.trace_id, one.worth) for one in answers if one.worth > 0]:
            await self._store.note(lesser)
        if known := [one.asked.request for one in answers if not one.worth and one.asked.request.patient in self._remembered]:
            await self._store.clear({request.patient: request.context_version for request in known})
        for one in answers:
            request = one.asked.request
            earlier = self._remembered.get(request.patient)
            if earlier is not None and earlier.asked.request.context_version > request.context_version:
                continue
            self._remembered.pop(request.patient, None)
            if one.worth > 0:
                self._remembered[request.patient] = _Degraded(one.asked, one.worth, one.late)
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


def _chunks(asked: Sequence[_Asked], size: int = CHUNK) -> Iterator[list[_Asked]]:
    """Most urgent first, in the order of coming within one urgency."""
    ordered = sorted(asked, key=lambda one: one.request.urgency)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
