"""The live stages on stores in memory, one behind the other: what one produces is handed to the next at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import msgspec

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.domain import evidence
from pipeline.domain.image_heads import Scopes
from pipeline.domain.site import Policy
from pipeline.errors import Unavailable
from pipeline.ports import Batch, Received, Record, Scorer
from pipeline.replay.stores import ReplayedList
from pipeline.services.context import ContextStage
from pipeline.services.ranking import RankingStage
from pipeline.services.reviews import Review
from pipeline.services.scoring import ScoringStage
from schemas.topics import ASSESS, ASSESSMENTS, DLQ, INPUTS, Topic

GROUP = "replay"
WINDOWS_MOST = 2_000
"""Windows in memory; a patient beyond them costs a rebuild from the facts."""
_TRIES = 5


class Arrived(NamedTuple):
    """A record on its way into the context stage."""

    topic: Topic
    key: bytes
    body: bytes
    headers: Mapping[str, str]


class _Caused(msgspec.Struct):
    trigger: str = ""


_caused = msgspec.json.Decoder(_Caused)


def _trigger(assessment: Record) -> str:
    return _caused.decode(assessment.value or b"").trigger


class _Produced:
    """EventLog: what the stages produce, by topic, until it is fetched. The topic worklist nobody reads here."""

    def __init__(self) -> None:
        self._records: defaultdict[str, list[Record]] = defaultdict(list)

    async def append(self, records: Sequence[Record]) -> None:
        """As EventLog.append."""
        for record in records:
            self._records[record.topic.name].append(record)

    def fetch(self, topic: Topic) -> list[Record]:
        """What was produced to the topic since the last fetch."""
        return self._records.pop(topic.name, [])


class Stages:
    """Context, scoring and ranking over one set of stores. `scorer` None: the rules alone."""

    def __init__(
        self, clock: ManualClock, facts: MemoryContextStore, listed: ReplayedList, policy: Policy, scorer: Scorer | None, heads: Scopes
    ) -> None:
        self._clock = clock
        self._facts = facts
        self._listed = listed
        self._policy = policy
        self._scorer = scorer
        self.heads = heads
        self._offsets = MemoryOffsets()
        self.degraded = MemoryDegradedScores()
        self._produced = _Produced()
        self._ends: Counter[str] = Counter()
        self.times: dict[str, datetime] = {}
        """Event id -> when Kafka got the event, of those that are under way."""
        self._context: ContextStage | None = None
        self.restart()

    def restart(self) -> None:
        """As after a crash of the three workers: what they had in memory is gone, what was committed stays."""
        gather = partial(evidence.gather, policy=self._policy)
        before = self._context
        self._context = ContextStage(self._facts, self._produced, self._clock, GROUP, gather, windows_max=WINDOWS_MOST)
        if before is not None:
            self._context.applied, self._context.ignored, self._context.dead_lettered = before.applied, before.ignored, before.dead_lettered
        self._scoring = ScoringStage(self._offsets, self.degraded, self._produced, self._scorer, None, self._clock, GROUP)
        self._review = Review(self._listed, self._produced, self._clock, lambda: self._policy)
        self._ranking = RankingStage(self._listed, self._produced, self._clock, GROUP, lambda: self._policy, lambda: self.heads)

    @property
    def context(self) -> ContextStage:
        """The context stage, which counts what became of each record."""
        assert self._context is not None
        return self._context

    @property
    def waiting(self) -> int:
        """Patients whose score is to be made again when the model is back."""
        return self._scoring.waiting if self._scorer is not None else 0

    async def take(self, records: Sequence[Arrived]) -> None:
        """One transaction of the context stage, and what follows from it up to the rules' ranks. Each topic's records in order."""
        by_topic: dict[Topic, list[Received]] = {}
        for topic, key, body, headers in records:
            by_topic.setdefault(topic, []).append(Received(topic, 0, self._next(topic), key, body, headers))
        batches = [Batch(topic, 0, received) for topic, received in by_topic.items()]
        await self._insist(lambda: self.context.handle(batches))
        await self.rank(self._produced.fetch(ASSESSMENTS))

    async def score(self) -> list[Record]:
        """Answers the requests of the last `take`, and ranks by the answers; returns the requests."""
        requests = self._produced.fetch(ASSESS)
        if requests:
            batch = self._batch(requests)
            await self._insist(lambda: self._scoring.handle([batch]))
            await self.rank(self._produced.fetch(ASSESSMENTS))
        return requests

    def requests(self) -> list[Record]:
        """The requests of the last `take`, which nobody answers."""
        return self._produced.fetch(ASSESS)

    async def rescore(self) -> None:
        """Asks again for degraded scores, and ranks by the answers."""
        await self._scoring.rescore()
        await self.rank(self._produced.fetch(ASSESSMENTS))

    async def rank(self, assessments: Sequence[Record]) -> None:
        """Ranks by assessments, each at the time of the event that led to it: how long a study has stood where it stands counts."""
        present = self._clock.now()
        for assessment in assessments:
            self._clock.set(self.times.get(_trigger(assessment), present))
            batch = self._batch([assessment])
            await self._insist(lambda batch=batch: self._ranking.handle([batch]))  # type: ignore[misc]
        self._clock.set(present)

    async def review(self, until: datetime) -> None:
        """Looks again at what time alone changes, each at its moment."""
        while (at := self._listed.next_review()) is not None and at <= until:
            self._clock.set(at)
            await self._review.once()

    def returning(self) -> list[Record]:
        """What the context stage has sent to input topics: events of merged patients, and merges told to those concerned."""
        self._produced.fetch(DLQ)
        return [record for topic in INPUTS for record in self._produced.fetch(topic)]

    def _batch(self, records: Sequence[Record]) -> Batch:
        topic = records[0].topic
        return Batch(topic, 0, [Received(topic, 0, self._next(topic), r.key, r.value or b"", r.headers) for r in records])

    def _next(self, topic: Topic) -> int:
        self._ends[topic.name] += 1
        return self._ends[topic.name] - 1

    async def _insist(self, handle: Callable[[], Awaitable[object]]) -> None:
        """A store that fails is asked again with the same batches, as the transport does it."""
        for _ in range(_TRIES):
            try:
                await handle()
                return
            except Unavailable:
                continue
        await handle()
