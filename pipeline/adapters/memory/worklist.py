"""The worklist in memory: the ranking stage's side, the readers' side and their actions on the same rows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import msgspec

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.transactions import Ledger, MemoryTransaction
from pipeline.adapters.worklist_rules import Cursor, check_query, encode_cursor, refusal, searched_text, seen_state
from pipeline.errors import NotFound
from pipeline.ports import ItemChange, ListedItem, ListQuery, Page, Place, RankChange, Summary
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
        wanted = (item.state == query.state) if query.state else (item.state != "closed")
        return (
            wanted
            and (after is None or self.place > (after.due_at, after.study_uid))
            and query.modality in (None, item.study.modality)
            and query.patient_class in (None, item.study.patient_class)
            and query.location in (None, item.study.location)
            and (query.overdue_at is None or item.due_at < query.overdue_at)
            and (query.text is None or query.text.lower() in self.text)
        )


class MemoryWorklist:
    """RankingStore, WorklistReader and WorklistActions. `context` supplies the timeline and the feeds' times."""

    def __init__(self, context: MemoryContextStore | None = None) -> None:
        self.ledger = Ledger()
        self.rows: dict[str, _Row] = {}
        self.rank_changes: defaultdict[str, list[RankChange]] = defaultdict(list)
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
            self.rank_changes[uid].append(RankChange(item.ranked_at, item.due_at, change.cause, change.event_id, item.why))

    # --- the readers

    async def page(self, query: ListQuery) -> Page:
        """As WorklistReader.page."""
        found = self._select(query)
        items = [row.listed for row in found[: query.limit]]
        return Page(items, encode_cursor(items[-1].item) if len(found) > query.limit else None)

    async def get(self, study_uid: str) -> ListedItem:
        """As WorklistReader.get."""
        return self._row(study_uid).listed

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
        )

    async def patient_events(self, patient: str, limit: int = 500) -> list[AnyEvent]:
        """As WorklistReader.patient_events."""
        facts = sorted(self._context.facts_of(patient), key=lambda fact: (fact.recorded_at, fact.offset), reverse=True)
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
        return self._update(study_uid, claimed_by=None, claimed_at=None) if listed.claimed_by else listed

    async def acknowledge(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """As WorklistActions.acknowledge."""
        listed = self._allowed(study_uid, reader, "acknowledge")
        return listed if listed.acknowledged_by else self._update(study_uid, acknowledged_by=reader, acknowledged_at=now)

    async def claim_next(self, reader: str, query: ListQuery, now: datetime) -> ListedItem:
        """As WorklistActions.claim_next."""
        for row in self._select(query):
            if row.listed.item.state == "open":
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

    def _allowed(self, study_uid: str, reader: str, action: Literal["claim", "release", "acknowledge"]) -> ListedItem:
        listed = self._row(study_uid).listed
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
