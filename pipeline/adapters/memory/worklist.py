"""The worklist in memory: the ranking stage's side, the readers' side and their actions on the same rows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.escalation import MemoryAlerts
from pipeline.adapters.memory.transactions import Ledger, MemoryTransaction
from pipeline.adapters.worklist_rules import (
    SETTING_ASIDE,
    Action,
    Cursor,
    acknowledging,
    check_query,
    encode_cursor,
    refusal,
    searched_text,
    seen_state,
)
from pipeline.domain import adjustments
from pipeline.errors import NotFound
from pipeline.ports import Act, ItemChange, ListedItem, ListQuery, Page, Place, RankChange, Summary
from schemas.codec import decode_event
from schemas.events import AnyEvent
from schemas.worklist import WorklistItem


@dataclass(frozen=True, slots=True)
class _Row:
    listed: ListedItem
    text: str

    @property
    def place(self) -> tuple[datetime, str]:
        return self.listed.item.due_at, self.listed.item.study.study_uid

    def matches(self, query: ListQuery, after: Cursor | None) -> bool:
        item = self.listed.item
        return (
            self._stands(query.state)
            and (query.part is None or query.part.holds(item.study))
            and query.patient in (None, item.patient)
            and (after is None or self.place > (after.due_at, after.study_uid))
            and query.modality in (None, item.study.modality)
            and query.patient_class in (None, item.study.patient_class)
            and query.location in (None, item.study.location)
            and (query.overdue_at is None or item.due_at < query.overdue_at)
            and (query.text is None or query.text.lower() in self.text)
        )

    def _stands(self, state: str | None) -> bool:
        item = self.listed.item
        held = item.adjustment is not None and item.adjustment.hold is not None
        if state == "held":
            return item.state != "closed" and held
        return (item.state == state and not (state == "open" and held)) if state else item.state != "closed"


class MemoryWorklist:
    """RankingStore, ReviewStore, WorklistReader and WorklistActions. `context` supplies the timeline and the feeds' times."""

    def __init__(self, context: MemoryContextStore | None = None) -> None:
        self.ledger = Ledger()
        self.rows: dict[str, _Row] = {}
        self.rank_changes: defaultdict[str, list[RankChange]] = defaultdict(list)
        self.alerts = MemoryAlerts(self)
        self._context = context or MemoryContextStore()
        self._seq = 0
        self._changed = asyncio.Event()

    # --- the ranking stage

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[MemoryRankingTransaction]:
        """As RankingStore.begin."""
        return MemoryRankingTransaction(self, group, places).run()

    def write(self, change: ItemChange) -> None:
        """What a commit does with one change: nothing when something newer is there."""
        uid = change.item.study.study_uid
        row = self.rows.get(uid)
        if row is not None and row.listed.item.context_version > change.item.context_version:
            return
        if row is not None and not change.changed:
            noted = msgspec.structs.replace(row.listed.item, context_version=change.item.context_version)
            self.rows[uid] = replace(row, listed=replace(row.listed, item=noted))
            return
        before = row.listed if row is not None else ListedItem(change.item, 0)
        item = msgspec.structs.replace(change.item, state=seen_state(change.item, before.claimed_by))
        self.rows[uid] = _Row(replace(before, item=item, seq=self._next_seq()), searched_text(item))
        if change.changed:
            self._record(change)

    def begin_review(self) -> AbstractAsyncContextManager[MemoryReview]:
        """As ReviewStore.begin_review."""
        return MemoryReview(self).run()

    async def ask_for_review(self, version: str, now: datetime) -> int:
        """As ReviewStore.ask_for_review."""
        asked = 0
        for uid, row in self.rows.items():
            item = row.listed.item
            if item.state != "closed" and item.policy != version and item.review_at != now:
                self.rows[uid] = self._with(row, review_at=now)
                asked += 1
        return asked

    # --- the readers

    async def page(self, query: ListQuery) -> Page:
        """As WorklistReader.page."""
        found = self._select(query)
        items = [self._with_others(row.listed) for row in found[: query.limit]]
        return Page(items, encode_cursor(items[-1].item) if len(found) > query.limit else None)

    async def get(self, study_uid: str) -> ListedItem:
        """As WorklistReader.get."""
        return self._with_others(self._row(study_uid).listed)

    async def history(self, study_uid: str, limit: int = 100) -> list[RankChange]:
        """As WorklistReader.history."""
        return self.rank_changes.get(study_uid, [])[::-1][:limit]

    async def summary(self, now: datetime) -> Summary:
        """As WorklistReader.summary."""
        items = [row.listed.item for row in self.rows.values() if row.listed.item.state != "closed"]
        return Summary(
            open=len(items),
            overdue=sum(item.due_at < now for item in items),
            degraded=sum(item.degraded for item in items),
            unmatched=sum(item.study.unmatched for item in items),
            oldest_ready_at=min((item.study.ready_at for item in items), default=None),
            seq=self._seq,
            feeds=self._context.newest_by_topic(),
            held=sum(adjustments.set_aside(item, now) for item in items),
        )

    async def patient_events(self, patient: str, limit: int = 500, topics: Sequence[str] = ()) -> list[AnyEvent]:
        """As WorklistReader.patient_events."""
        wanted = (fact for fact in self._context.facts_of(patient) if not topics or fact.topic in topics)
        facts = sorted(wanted, key=lambda fact: (fact.recorded_at, fact.offset), reverse=True)
        return [decode_event(fact.body) for fact in facts[:limit]]

    async def changes(self, since: int | None) -> AsyncIterator[int]:
        """As WorklistReader.changes."""
        told = self._seq if since is None else since
        while True:
            changed = self._changed
            if self._seq > told:
                told = self._seq
                yield told
            else:
                await changed.wait()

    # --- their actions

    async def claim(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """As WorklistActions.claim."""
        listed = self._allowed(study_uid, reader, "claim")
        return listed if listed.claimed_by else self._update(study_uid, claimed_by=reader, claimed_at=now)

    async def release(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """As WorklistActions.release."""
        listed = self._allowed(study_uid, reader, "release")
        if not listed.claimed_by:
            return listed
        self.rows[study_uid] = self._with(self.rows[study_uid], review_at=now)
        return self._update(study_uid, claimed_by=None, claimed_at=None)

    async def acknowledge(self, study_uid: str, reader: str, now: datetime, *, method: str = "page", take_over: bool = False) -> ListedItem:
        """As WorklistActions.acknowledge."""
        listed = self._row(study_uid).listed
        async with self.alerts.begin() as transaction:
            changes = acknowledging(await transaction.of([study_uid], []), reader, now, method, take_over)
            if not changes and (conflict := refusal(listed, reader, "acknowledge")) is not None:
                raise conflict
            await transaction.store(changes)
        if listed.acknowledged_by and not changes:
            return listed
        return self._update(study_uid, acknowledged_by=reader, acknowledged_at=now)

    # --- what alerts need

    def all_items(self) -> list[tuple[WorklistItem, int]]:
        """Every item, closed ones too, with its seq."""
        return [(row.listed.item, row.listed.seq) for row in self.rows.values()]

    def touch(self, study_uid: str) -> None:
        """The item looks different now, though nothing in it has changed."""
        if study_uid in self.rows:
            self._update(study_uid)

    async def adjust(self, study_uid: str, reader: str, now: datetime, act: Act) -> ListedItem:
        """As WorklistActions.adjust."""
        listed = self._allowed(study_uid, reader, act.kind)
        after = act.change(listed.item)
        if after is listed.item:
            return listed
        after = msgspec.structs.replace(after, ranked_at=now)
        row = self.rows[study_uid]
        self.rows[study_uid] = _Row(replace(row.listed, item=after), searched_text(after))
        self._record(ItemChange(after, act.cause, f"reader:{act.kind}", kind=act.kind))
        freed = {"claimed_by": None, "claimed_at": None} if act.kind in SETTING_ASIDE else {}
        return self._update(study_uid, **freed)

    async def claim_next(self, reader: str, query: ListQuery, now: datetime) -> ListedItem:
        """As WorklistActions.claim_next."""
        for row in self._select(query):
            if row.listed.item.state == "open" and not adjustments.set_aside(row.listed.item, now):
                return self._update(row.listed.item.study.study_uid, claimed_by=reader, claimed_at=now)
        raise NotFound("no open study matches that nobody has claimed")

    # --- machinery

    def _select(self, query: ListQuery) -> list[_Row]:
        after = check_query(query)
        return sorted((row for row in self.rows.values() if row.matches(query, after)), key=lambda row: row.place)

    def _row(self, study_uid: str) -> _Row:
        try:
            return self.rows[study_uid]
        except KeyError:
            raise NotFound("no such study on the worklist") from None

    def _record(self, change: ItemChange) -> None:
        item = change.item
        line = RankChange(item.ranked_at, item.due_at, change.cause, change.event_id, item.why, change.kind)
        self.rank_changes[item.study.study_uid].append(line)

    def _with_others(self, listed: ListedItem) -> ListedItem:
        items = [row.listed.item for row in self.rows.values()]
        others = (i for i in items if i.patient == listed.item.patient and i.state != "closed" and i.study != listed.item.study)
        return replace(listed, same_patient=sum(1 for _ in others))

    def _with(self, row: _Row, **fields: object) -> _Row:
        return replace(row, listed=replace(row.listed, item=msgspec.structs.replace(row.listed.item, **fields)))

    def restate(self, item: WorklistItem) -> None:
        """What a review left as it was to a reader."""
        row = self.rows[item.study.study_uid]
        self.rows[item.study.study_uid] = _Row(replace(row.listed, item=item), searched_text(item))

    def _allowed(self, study_uid: str, reader: str, action: Action) -> ListedItem:
        listed = self._with_others(self._row(study_uid).listed)
        if (conflict := refusal(listed, reader, action)) is not None:
            raise conflict
        return listed

    def _update(self, study_uid: str, **fields: object) -> ListedItem:
        row = self.rows[study_uid]
        listed = replace(row.listed, seq=self._next_seq(), **fields)  # type: ignore[arg-type]
        listed = replace(listed, item=msgspec.structs.replace(listed.item, state=seen_state(listed.item, listed.claimed_by)))
        self.rows[study_uid] = replace(row, listed=listed)
        return listed

    def _next_seq(self) -> int:
        self._seq += 1
        self._changed.set()
        self._changed = asyncio.Event()
        return self._seq


class MemoryRankingTransaction(MemoryTransaction):
    """RankingTransaction."""

    def __init__(self, worklist: MemoryWorklist, group: str, places: Collection[Place]) -> None:
        super().__init__(worklist.ledger, group, places)
        self._worklist = worklist
        self._changes: list[ItemChange] = []

    async def items(self, studies: Sequence[str]) -> Mapping[str, WorklistItem]:
        """As RankingTransaction.items."""
        await self.hold(("study", study) for study in studies)
        rows = self._worklist.rows
        return {study: rows[study].listed.item for study in studies if study in rows}

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As RankingTransaction.store."""
        self._changes += changes

    def commit(self) -> None:
        """Writes the items and the applied offset."""
        super().commit()
        for change in self._changes:
            self._worklist.write(change)


class MemoryReview:
    """ReviewTransaction."""

    def __init__(self, worklist: MemoryWorklist) -> None:
        self._worklist = worklist
        self._changes: list[ItemChange] = []

    @asynccontextmanager
    async def run(self) -> AsyncIterator[MemoryReview]:
        """Writes on a clean exit."""
        self._worklist.ledger.check_begin()
        yield self
        self._worklist.ledger.check_commit()
        for change in self._changes:
            self._worklist.write(change) if change.changed else self._worklist.restate(change.item)

    async def due(self, now: datetime, limit: int) -> Sequence[WorklistItem]:
        """As ReviewTransaction.due."""
        items = [row.listed.item for row in self._worklist.rows.values()]
        due = [item for item in items if item.state != "closed" and item.review_at is not None and item.review_at <= now]
        return sorted(due, key=lambda item: (item.review_at, item.study.study_uid))[:limit]

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As ReviewTransaction.store."""
        self._changes += changes
