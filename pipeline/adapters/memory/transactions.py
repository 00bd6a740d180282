"""Batch transactions without a database: a lock for each place, effects staged until commit, faults on demand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

from pipeline.errors import Fenced, Unavailable
from pipeline.ports import Place

GroupPlace = tuple[str, str, int]
"""(group, topic, partition)"""


class Ledger:
    """The applied offsets and the locks of one store, and the failures that a test has ordered."""

    def __init__(self) -> None:
        self.applied: dict[GroupPlace, int] = {}
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

    def __init__(self, ledger: Ledger, group: str, places: Collection[Place]) -> None:
        self._ledger = ledger
        self._group = group
        self._places = places
        self._held: dict[Hashable, asyncio.Lock] = {}
        self.applied: Mapping[Place, int] = {}
        self._advanced: Mapping[Place, int] = {}

    async def advance(self, offsets: Mapping[Place, int]) -> None:
        """Stages the new applied offsets."""
        for place, offset in offsets.items():
            if offset < self.applied[place]:
                raise Fenced(f"{place}: cannot go back from {self.applied[place]} to {offset}")
        self._advanced = offsets

    async def hold(self, keys: Iterable[Hashable]) -> None:
        """Takes the rows' locks until the transaction ends, in sorted order; those already held are passed over."""
        for key in sorted(set(keys) - self._held.keys(), key=str):
            lock = self._ledger.lock(key)
            await lock.acquire()
            self._held[key] = lock

    def opened(self) -> None:
        """Called once the places are locked."""

    def commit(self) -> None:
        """Writes what was staged."""
        self._ledger.applied.update({(self._group, *place): offset for place, offset in self._advanced.items()})

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Locks the places, hands the transaction out, commits on a clean exit."""
        self._ledger.check_begin()
        try:
            await self.hold((self._group, *place) for place in self._places)
            self.applied = {place: self._ledger.applied.get((self._group, *place), -1) for place in self._places}
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

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[MemoryTransaction]:
        """As OffsetStore.begin."""
        return MemoryTransaction(self.ledger, group, places).run()

    def applied(self, group: str, place: Place) -> int:
        """The applied offset, -1 when there is none."""
        return self.ledger.applied.get((group, *place), -1)
