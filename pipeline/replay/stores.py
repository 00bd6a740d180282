"""The list as a replay keeps it: what the ranking stage writes, and each change on its way out."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Self

from msgspec.structs import replace

from pipeline.adapters.memory.transactions import Ledger, MemoryTransaction
from pipeline.ports import ItemChange, Place
from schemas.worklist import WorklistItem

Told = Callable[[WorklistItem | None, ItemChange], None]
"""What stood there before, and the change."""


class ReplayedList:
    """RankingStore and ReviewStore. open: studies to be read; closed: those lately closed, the last so many."""

    def __init__(self, told: Told, closed_most: int = 2_000) -> None:
        self.ledger = Ledger()
        self.open: dict[str, WorklistItem] = {}
        self.closed: dict[str, WorklistItem] = {}
        self._reviews: list[tuple[datetime, str]] = []
        self._told = told
        self._closed_most = closed_most

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[ReplayedListTransaction]:
        """As RankingStore.begin."""
        return ReplayedListTransaction(self, group, places).run()

    def begin_review(self) -> AbstractAsyncContextManager[_Reviewing]:
        """As ReviewStore.begin_review."""
        return _Reviewing(self).run()

    async def ask_for_review(self, version: str, now: datetime) -> int:
        """As ReviewStore.ask_for_review; the rules of a replay do not change."""
        return 0

    def next_review(self) -> datetime | None:
        """When time alone changes something next."""
        while self._reviews:
            at, uid = self._reviews[0]
            item = self.open.get(uid)
            if item is not None and item.review_at == at:
                return at
            heapq.heappop(self._reviews)
        return None

    def due(self, now: datetime) -> list[WorklistItem]:
        """The items to be looked at again."""
        found: dict[str, WorklistItem] = {}
        while (at := self.next_review()) is not None and at <= now:
            uid = heapq.heappop(self._reviews)[1]
            found[uid] = self.open[uid]
        return list(found.values())

    def reviewed(self, change: ItemChange) -> None:
        """The outcome of looking at an item again, whether anything moved or not."""
        before = self.get(change.item.study.study_uid)
        self.put(change.item)
        if change.changed:
            self._told(before, change)

    def get(self, study_uid: str) -> WorklistItem | None:
        """The item, open or lately closed."""
        return self.open.get(study_uid) or self.closed.get(study_uid)

    def write(self, change: ItemChange) -> None:
        """What a commit does with one change: nothing when something newer is there."""
        uid = change.item.study.study_uid
        before = self.get(uid)
        if before is not None and before.context_version > change.item.context_version:
            return
        if before is not None and not change.changed:
            self.put(replace(before, context_version=change.item.context_version))
            return
        self.put(change.item)
        self._told(before, change)

    def put(self, item: WorklistItem) -> None:
        """Keeps an item as it is."""
        uid = item.study.study_uid
        if item.review_at is not None and item.state != "closed":
            heapq.heappush(self._reviews, (item.review_at, uid))
        if item.state != "closed":
            self.closed.pop(uid, None)
            self.open[uid] = item
            return
        self.open.pop(uid, None)
        self.closed[uid] = item
        while len(self.closed) > self._closed_most:
            del self.closed[next(iter(self.closed))]


class ReplayedListTransaction(MemoryTransaction):
    """RankingTransaction."""

    def __init__(self, listed: ReplayedList, group: str, places: Collection[Place]) -> None:
        super().__init__(listed.ledger, group, places)
        self._list = listed
        self._changes: list[ItemChange] = []

    async def items(self, studies: Sequence[str]) -> Mapping[str, WorklistItem]:
        """As RankingTransaction.items; nobody else writes, so nothing is locked."""
        return {study: item for study in studies if (item := self._list.get(study)) is not None}

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As RankingTransaction.store."""
        self._changes += changes

    def commit(self) -> None:
        """Writes the items and the applied offsets."""
        super().commit()
        for change in self._changes:
            self._list.write(change)


class _Reviewing:
    """ReviewTransaction."""

    def __init__(self, listed: ReplayedList) -> None:
        self._list = listed
        self._changes: list[ItemChange] = []

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Commits on a clean exit."""
        yield self
        for change in self._changes:
            self._list.reviewed(change)

    async def due(self, now: datetime, limit: int) -> Sequence[WorklistItem]:
        """As ReviewTransaction.due; what is due at one moment is never more than a portion."""
        return self._list.due(now)

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As ReviewTransaction.store."""
        self._changes += changes
