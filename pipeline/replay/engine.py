"""A log through the live stages on stores in memory, on a clock that the log moves: the list, its history, and their digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import WARNING
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.onnx.heads import scopes
from pipeline.domain.image_heads import Scopes
from pipeline.domain.site import DEFAULT, Policy
from pipeline.ports import ItemChange, Record, Scorer
from pipeline.replay import digest as digests
from pipeline.replay import state
from pipeline.replay.facts import ReplayedFacts
from pipeline.replay.log_file import LoggedRecord, LogReader, UnreadableLog, milliseconds
from pipeline.replay.order import in_order
from pipeline.replay.stages import Arrived, Stages
from pipeline.replay.stores import ReplayedList
from pipeline.replay.waves import Wave, goes_alone
from pipeline.services.assessing import answer
from pipeline.services.scoring import RESCORE_EVERY
from schemas import codec
from schemas.assessments import Assessment, AssessRequest
from schemas.topics import ASSESS, ASSESSMENTS, INPUTS
from schemas.worklist import WorklistItem

BATCH = 1_000
_INPUTS = frozenset(topic.name for topic in INPUTS)


class RankMove(msgspec.Struct, frozen=True):
    """A change that a reader sees: the item from `at` on, where it was due before (None: it was not listed), and what led to it."""

    at: datetime
    item: WorklistItem
    due_before: datetime | None
    cause: str
    event_id: str


@dataclass(slots=True)
class Replayed:
    """items: the open list, most urgent first. history: every change, each study's in order. escalations: each step, in order.

    digest: of list and history. state_digest, rules_digest: of the list alone, as any store's list gives it (`digest.state_digest`).
    events: records read from input topics; applied, ignored, dead_lettered: what became of them, as live.
    """

    items: list[WorklistItem]
    history: list[RankMove]
    digest: str
    state_digest: str
    rules_digest: str
    events: int
    moves: int
    applied: int
    ignored: dict[str, int]
    dead_lettered: dict[str, int]
    until: datetime | None
    escalations: list[Any] = field(default_factory=list)

    def history_as_text(self) -> str:
        """One line a change, by study and time: what two replays are compared by when their digests differ."""
        return "\n".join(
            f"{move.item.study.study_uid} {move.at:%F %H:%M:%S.%fZ} due {move.item.due_at:%F %H:%M:%SZ} {move.cause} | {move.item.why}"
            for move in sorted(self.history, key=lambda move: move.item.study.study_uid)
        )


async def replay(
    records: LogReader | Iterable[LoggedRecord],
    *,
    policy: Policy = DEFAULT,
    scorer: Scorer | Literal["recorded"] | None = None,
    heads: Scopes | None = None,
    until: datetime | None = None,
    batch_size: int = BATCH,
    restarts: Collection[int] = (),
    clock: ManualClock | None = None,
    keep_history: bool = True,
    on_move: Callable[[RankMove], None] | None = None,
    pace: Callable[[datetime], Awaitable[None]] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    from_state: Path | None = None,
    save_state: Path | None = None,
) -> Replayed:
    """`scorer` None: the rules alone, so every item is degraded; "recorded": the scores that the log holds. A scorer's clock is `clock`.
    heads: the image models that there are; None: those that the log's header names, else those of `from_state`, else those that ship.

    restarts: the workers are made anew after so many records, as after a crash. pace: awaited before each record, with its time.
    progress: told now and then how many events have gone through. from_state: goes on where `save_state` of an earlier replay stopped;
    records that went in then are passed over. Raises UnreadableLog, DamagedLog for a state that cannot be used.
    """
    noted = records.header.heads if heads is None and isinstance(records, LogReader) else heads
    engine = Engine(policy, scorer, clock or ManualClock(), noted, keep_history=keep_history, on_move=on_move)
    if from_state is not None:
        await engine.restore(from_state)
    with quietly():
        await engine.run(
            in_order(records), until=until, batch_size=1 if pace else batch_size, restarts=restarts, pace=pace, progress=progress
        )
    if save_state is not None:
        await engine.save(save_state)
    return engine.result()


class Engine:
    """One replay under way. heads: as `replay`'s; None: those of the state that it begins with, else those that ship."""

    def __init__(
        self,
        policy: Policy,
        scorer: Scorer | Literal["recorded"] | None,
        clock: ManualClock,
        heads: Scopes | None,
        *,
        keep_history: bool = True,
        on_move: Callable[[RankMove], None] | None = None,
    ) -> None:
        self._policy = policy
        self._recorded = scorer == "recorded"
        self._scorer_name = scorer if isinstance(scorer, str) else "rules" if scorer is None else type(scorer).__name__
        self._clock = clock
        self._keep_history = keep_history
        self._on_move = on_move
        self._facts = ReplayedFacts(clock)
        self._list = ReplayedList(self._moved)
        self._heads = heads
        asked = None if isinstance(scorer, str) else scorer
        self._stages = Stages(clock, self._facts, self._list, policy, asked, scopes() if heads is None else heads)
        self._watched: dict[bytes, set[str]] = {}
        """Patients with something to read -> their open studies."""
        self._requests: dict[str, AssessRequest] = {}
        self._versions: dict[str, int] = {}
        self._rescored: datetime | None = None
        self._digest = digests.HistoryDigest()
        self._history: list[RankMove] = []
        self._events = 0
        self._seen: dict[str, int] = {}
        """Up to where records went in before the state was written that this replay began with."""
        self._went: dict[tuple[str, int], int] = {}
        self._until: datetime | None = None

    async def run(
        self,
        records: Iterable[LoggedRecord],
        *,
        until: datetime | None = None,
        batch_size: int = BATCH,
        restarts: Collection[int] = (),
        pace: Callable[[datetime], Awaitable[None]] | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """The records in their order. until: a partition ends before its first record that is later."""
        wave = Wave()
        for record in self._before(records, until):
            if pace is not None:
                await pace(_time(record.timestamp))
            alone = goes_alone(record, self._facts.statements)
            full = len(wave) >= (1 if self._stages.waiting else batch_size) or self._has_review(_time(record.timestamp))
            if full or self._events in restarts or not wave.fits(record, alone, self._watched):
                await self._through(wave)
                await self._stages.review(_time(record.timestamp))
                progress(self._events)
                wave = Wave()
                alone = goes_alone(record, self._facts.statements)
            if self._events in restarts:
                self._stages.restart()
            wave.add(record, alone)
            self._events += record.topic in _INPUTS
            self._went[record.topic, record.partition] = record.offset
        await self._through(wave)
        if until is not None:
            await self._stages.review(until)

    def _before(self, records: Iterable[LoggedRecord], until: datetime | None) -> Iterator[LoggedRecord]:
        end, over = None if until is None else milliseconds(until), set[tuple[str, int]]()
        for record in records:
            if end is not None and record.timestamp > end:
                over.add((record.topic, record.partition))
            if self._wanted(record) and (record.topic, record.partition) not in over and not state.is_seen(self._seen, record):
                yield record

    def _has_review(self, until: datetime) -> bool:
        return (at := self._list.next_review()) is not None and at <= until

    def result(self) -> Replayed:
        """What has come out so far."""
        items = sorted(self._list.open.values(), key=lambda item: (item.due_at, item.study.study_uid))
        context = self._stages.context
        return Replayed(
            items=items,
            history=self._history,
            digest=digests.whole(items, self._digest),
            state_digest=digests.state_digest(items, self._policy),
            rules_digest=digests.state_digest(items, self._policy, risk=False),
            events=self._events,
            moves=self._digest.changes,
            applied=context.applied,
            ignored=dict(context.ignored),
            dead_lettered=dict(context.dead_lettered),
            until=self._until,
        )

    async def save(self, path: Path) -> None:
        """Everything that the records to come depend on."""
        context, writer = self._stages.context, state.StateWriter(path)
        for fact in self._facts.everything():
            writer.fact(state.StoredFact(*fact))
        statements = {patient: (said.survivor, said.recorded_at, said.event_id) for patient, said in self._facts.statements.items()}
        writer.finish(
            state.State(
                seen={**self._seen, **{state.place_name(*place): offset for place, offset in self._went.items()}},
                clock=self._clock.now(),
                version=self._facts.version,
                open=list(self._list.open.values()),
                closed=list(self._list.closed.values()),
                statements=statements,
                chains=self._digest.chains,
                total=f"{self._digest.total:x}",
                changes=self._digest.changes,
                events=self._events,
                counts={"applied": {"": context.applied}, "ignored": context.ignored, "dead_lettered": context.dead_lettered},
                requests=self._requests,
                versions=self._versions,
                degraded=[(one.request, one.trace_id, one.choice) for one in await self._stages.degraded.all()],
                policy=self._policy.version,
                scorer=self._scorer_name,
                heads=dict(self._stages.heads),
            )
        )

    async def restore(self, path: Path) -> None:
        """Raises UnreadableLog, also for a state of other rules, scores or image models: what follows would be neither of the two."""
        found, log = state.read(path)
        if (found.policy, found.scorer) != (self._policy.version, self._scorer_name):
            made, now = f"rules {found.policy}, scores {found.scorer}", f"rules {self._policy.version}, scores {self._scorer_name}"
            raise UnreadableLog(f"{path} was made by {made}; this replay goes by {now}")
        if found.heads is not None and self._heads is not None and found.heads != dict(self._heads):
            made, now = (", ".join(sorted(heads)) or "none" for heads in (found.heads, self._heads))
            raise UnreadableLog(f"{path} was made by the image models {made}; this replay goes by {now}, or by others of that name")
        if found.heads is not None:
            self._stages.heads = found.heads
        self._clock.set(found.clock)
        for fact in state.facts(log):
            self._facts.restore(fact.patient, fact.topic, fact.body, fact.observation)
        log.close()
        self._facts.version, self._facts.statements = found.version, found.told()
        self._list.closed = {item.study.study_uid: item for item in found.closed}
        for item in found.open:
            self._list.put(item)
            self._watch(None, item)
        self._digest = digests.HistoryDigest(found.chains, int(found.total, 16), found.changes)
        self._events, self._seen, self._requests, self._versions = found.events, found.seen, found.requests, found.versions
        context = self._stages.context
        context.applied = found.counts["applied"][""]
        context.ignored, context.dead_lettered = Counter(found.counts["ignored"]), Counter(found.counts["dead_lettered"])
        await self._stages.degraded.note(found.scores())

    def _wanted(self, record: LoggedRecord) -> bool:
        return record.topic in _INPUTS or (self._recorded and record.topic == ASSESSMENTS.name and record.value is not None)

    async def _through(self, wave: Wave) -> None:
        """A wave, and what the stages themselves send to the input topics after it, one by one."""
        if not len(wave):
            return
        self._until = _time(wave.last)
        self._clock.set(self._until)
        await self._rescore(self._until)
        self._stages.times = {record.headers.get("event_id", ""): _time(at) for record, at in zip(wave.records, wave.times, strict=True)}
        await self._take(wave.records)
        waiting = self._stages.returning()
        while waiting:
            record = waiting.pop(0)
            await self._take([Arrived(record.topic, record.key, record.value or b"", record.headers)])
            waiting += self._stages.returning()
        for score in wave.scores:
            await self._apply_score(score)

    async def _take(self, records: list[Arrived]) -> None:
        if not records:
            return
        await self._stages.take(records)
        if not self._recorded:
            await self._stages.score()
            return
        for asked in self._stages.requests():
            request: AssessRequest = codec.decode(ASSESS, asked.value)
            self._requests[request.patient] = request

    async def _rescore(self, now: datetime) -> None:
        if self._stages.waiting and (self._rescored is None or now - self._rescored >= RESCORE_EVERY):
            self._rescored, self._stages.times = now, {}  # what is scored again moves the list now, not when its event came
            await self._stages.rescore()

    async def _apply_score(self, score: LoggedRecord) -> None:
        """A recorded score, on the context as it stands here. Scores of a context that had been overtaken were not used live either."""
        try:
            said: Assessment = codec.decode(ASSESSMENTS, score.value)
        except codec.UndecodableRecord:
            return
        newest = self._versions[said.patient] = max(said.context_version, self._versions.get(said.patient, -1))
        request = self._requests.get(said.patient)
        if said.risk is None or said.context_version < newest or request is None:
            return
        told = answer(request, said.event_id, said.risk, said.degraded, self._clock.now())
        if request.trigger:
            self._stages.times[request.trigger] = _time(score.timestamp)
        await self._stages.rank([Record(ASSESSMENTS, score.key, codec.encode(told), score.headers)])

    def _moved(self, before: WorklistItem | None, change: ItemChange) -> None:
        item = change.item
        self._watch(before, item)
        self._digest.add(item, change.cause, change.event_id)
        if not (self._keep_history or self._on_move):
            return
        listed = before is not None and before.state != "closed"
        move = RankMove(self._clock.now(), item, before.due_at if before is not None and listed else None, change.cause, change.event_id)
        if self._keep_history:
            self._history.append(move)
        if self._on_move:
            self._on_move(move)

    def _watch(self, before: WorklistItem | None, item: WorklistItem) -> None:
        uid = item.study.study_uid
        if before is not None and (before.patient != item.patient or item.state == "closed"):
            self._unwatch(before.patient, uid)
        if item.state != "closed":
            self._watched.setdefault(item.patient.encode(), set()).add(uid)

    def _unwatch(self, patient: str, uid: str) -> None:
        studies = self._watched.get(patient.encode())
        if studies is not None:
            studies.discard(uid)
            if not studies:
                del self._watched[patient.encode()]
                self._requests.pop(patient, None)
                self._versions.pop(patient, None)


def _time(milliseconds_: int) -> datetime:
    return datetime.fromtimestamp(milliseconds_ / 1000, UTC)


@contextmanager
def quietly() -> Iterator[None]:
    """A million batches need no line each, unless whoever calls has said what is to be logged."""
    if structlog.is_configured():
        yield
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(WARNING))
    try:
        yield
    finally:
        structlog.reset_defaults()
