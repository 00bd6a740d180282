"""The ranking stage: assessments in, worklist items out, each item in step with the newest context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from pipeline.domain import explanation, ranking
from pipeline.domain.image_heads import NO_HEADS, Scopes
from pipeline.domain.site import DEFAULT, Policy
from pipeline.ports import Batch, Clock, EventLog, ItemChange, RankingStore, Received, Record
from pipeline.services.batch import Outcome, unapplied
from pipeline.services.dead_letters import readable, reasons
from schemas import codec
from schemas.assessments import Assessment
from schemas.topics import WORKLIST
from schemas.worklist import WorklistItem

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Understood:
    """An assessment with the record that brought it."""

    assessment: Assessment
    record: Received


class RankingStage:
    """Handles batches of `assessments`. The counters count study rankings, dead_lettered counts records, by reason."""

    def __init__(
        self,
        store: RankingStore,
        log: EventLog,
        clock: Clock,
        group: str,
        policy: Callable[[], Policy] = lambda: DEFAULT,
        heads: Callable[[], Scopes] = lambda: NO_HEADS,
    ) -> None:
        """policy, heads: the rules and the image models in force; asked once a batch, and never in vain."""
        self._store = store
        self._log = log
        self._clock = clock
        self._group = group
        self._policy = policy
        self._heads = heads
        self.ranked = 0
        self.unchanged = 0
        self.outdated = 0
        self.dead_lettered: Counter[str] = Counter()
        self.odd: Counter[ranking.Oddity] = Counter()

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Produces the changed items, then stores them with the applied offsets. Raises Unavailable: the batches must come again."""
        async with self._store.begin(self._group, [batch.place for batch in batches]) as transaction:
            pending = unapplied(transaction.applied, batches)
            if not pending.fresh:
                return pending.outcomes
            documents, letters = readable(pending.records, self._clock.now())
            understood = [_Understood(assessment, record) for record, assessment in documents]
            studies = list(dict.fromkeys(study.study_uid for one in understood for study in one.assessment.studies))
            changes, records, outdated = self._rank(await transaction.items(studies), understood)
            if letters or records:
                await self._log.append([*letters, *records])
            if changes:
                await transaction.store(changes)
            await transaction.advance(pending.offsets)
        self._count(changes, outdated, letters)
        return pending.outcomes

    def _rank(self, stored: Mapping[str, WorklistItem], understood: Sequence[_Understood]) -> tuple[list[ItemChange], list[Record], int]:
        """Follows every assessment, so that none of their scores is lost, and tells only where each study has come to."""
        now, policy, heads, outdated = self._clock.now(), self._policy(), self._heads(), 0
        items: dict[str, WorklistItem] = dict(stored)
        last: dict[str, _Understood] = {}
        for one in understood:
            self.odd.update(ranking.oddities(one.assessment))
            for study in ranking.each_once(one.assessment.studies, policy):
                before = items.get(study.study_uid)
                if ranking.is_outdated(before, one.assessment):
                    outdated += 1
                    continue
                items[study.study_uid] = ranking.rank(before, one.assessment, study, now, policy, heads)
                last[study.study_uid] = one
        changes = [_change(stored.get(uid), items[uid], one.assessment.trigger or one.assessment.event_id) for uid, one in last.items()]
        records = [_record(change, last[change.item.study.study_uid]) for change in changes if change.changed]
        return changes, records, outdated

    def _count(self, changes: Sequence[ItemChange], outdated: int, letters: Sequence[Record]) -> None:
        changed = sum(change.changed for change in changes)
        self.ranked += changed
        self.unchanged += len(changes) - changed
        self.outdated += outdated
        self.dead_lettered.update(reasons(letters))
        log.info("batch_ranked", ranked=changed, unchanged=len(changes) - changed, outdated=outdated, dead_lettered=len(letters))


def _change(before: WorklistItem | None, after: WorklistItem, event_id: str) -> ItemChange:
    """The change as the history keeps it, under the input event that led to it."""
    if before is not None and ranking.same_to_a_reader(before, after):
        return ItemChange(replace(before, context_version=after.context_version, as_of=after.as_of), "", event_id, changed=False)
    return ItemChange(after, explanation.cause(before, after), event_id)


def _record(change: ItemChange, brought_by: _Understood) -> Record:
    """The topic worklist shows open studies only; a closed one is taken off it."""
    item = change.item
    headers = {"event_id": brought_by.assessment.event_id, "trace_id": brought_by.record.headers.get("trace_id", ""), "source": "ranking"}
    return Record(WORKLIST, item.study.study_uid.encode(), None if item.state == "closed" else codec.encode(item), headers)
