"""The list as a replay keeps it: what the ranking stage writes, and each change on its way out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec.structs import replace

from pipeline.adapters.memory.transactions import Ledger, MemoryTransaction
from pipeline.ports import ItemChange, Place
from schemas.worklist import WorklistItem

Told = Callable[[WorklistItem | None, ItemChange], None]
"""What stood there before, and the change."""


class ReplayedList:
    """RankingStore. open: studies to be read; closed: those lately closed, the last so many."""

    def __init__(self, told: Told, closed_most: int = 2_000) -> None:
        self.ledger = Ledger()
        self.open: dict[str, WorklistItem] = {}
        self.closed: dict[str, WorklistItem] = {}
        self._told = told
        self._closed_most = closed_most

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[ReplayedListTransaction]:
        """As RankingStore.begin."""
        return ReplayedListTransaction(self, group, places).run()

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
            self._put(uid, replace(before, context_version=change.item.context_version))
            return
        self._put(uid, change.item)
        self._told(before, change)

    def _put(self, uid: str, item: WorklistItem) -> None:
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
