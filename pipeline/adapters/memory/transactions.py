"""Batch transactions without a database: a lock for each partition, effects staged until commit, faults on demand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

from pipeline.errors import Fenced, Unavailable
from schemas.topics import Topic

Place = tuple[str, str, int]
"""(group, topic, partition)"""


class Ledger:
    """The applied offsets and the locks of one store, and the failures that a test has ordered."""

    def __init__(self) -> None:
        self.applied: dict[Place, int] = {}
        self._locks: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failing_begins = 0
        self._failing_commits = 0

    def fail_next(self, times: int = 1) -> None:
        """The next transactions do not open: Unavailable."""
        self._failing_begins += times

    def fail_next_commit(self, times: int = 1) -> None:
        """The next commits roll back: Unavailable."""
        self._failing_commits += times

    def check_begin(self) -> None:
        """Raises the failure ordered for this begin, if any."""
        if self._failing_begins:
            self._failing_begins -= 1
            raise Unavailable("the store does not answer (ordered by the test)")

    def check_commit(self) -> None:
        """Raises the failure ordered for this commit, if any."""
        if self._failing_commits:
            self._failing_commits -= 1
            raise Unavailable("the store died at commit (ordered by the test)")

    def lock(self, key: Hashable) -> asyncio.Lock:
        """The lock that stands for a row."""
        return self._locks[key]


class MemoryTransaction:
    """What all batch transactions share. Subclasses stage their effects and write them in `commit`, which must not await."""

    def __init__(self, ledger: Ledger, group: str, topic: Topic, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self._ledger = ledger
        self._place: Place = (group, topic.name, partition)
        self._held: dict[Hashable, asyncio.Lock] = {}
        self.applied = -1
        self._advanced: int | None = None

    async def advance(self, offset: int) -> None:
        """Stages the new applied offset."""
        if offset < self.applied:
            raise Fenced(f"{self._place}: cannot go back from {self.applied} to {offset}")
        self._advanced = offset

    async def hold(self, keys: Iterable[Hashable]) -> None:
        """Takes the rows' locks until the transaction ends, in sorted order; those already held are passed over."""
        for key in sorted(set(keys) - self._held.keys(), key=str):
            lock = self._ledger.lock(key)
            await lock.acquire()
            self._held[key] = lock

    def opened(self) -> None:
        """Called once the partition is locked."""

    def commit(self) -> None:
        """Writes what was staged."""
        if self._advanced is not None:
            self._ledger.applied[self._place] = self._advanced

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Locks the partition, hands the transaction out, commits on a clean exit."""
        self._ledger.check_begin()
        try:
            await self.hold([self._place])
            self.applied = self._ledger.applied.get(self._place, -1)
            self.opened()
            yield self
            self._ledger.check_commit()
            self.commit()
        finally:
            for lock in self._held.values():
                lock.release()
            self._held.clear()


class MemoryOffsets:
    """OffsetStore."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def begin(self, group: str, topic: Topic, partition: int) -> AbstractAsyncContextManager[MemoryTransaction]:
        """As OffsetStore.begin."""
        return MemoryTransaction(self.ledger, group, topic, partition).run()

    def applied(self, group: str, topic: Topic, partition: int) -> int:
        """The applied offset, -1 when there is none."""
        return self.ledger.applied.get((group, topic.name, partition), -1)
