"""The facts of a replay: on disk, with eight bytes of memory each, and gone when nothing can depend on them any more.

So a replay's memory is that of the patients of a month, and not that of the log.
"""

from __future__ import annotations

import os
import struct
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.context_store import MemoryContextStore, Statement, closure
from pipeline.domain.measurements import MAX_AGE, TOLERANCE
from pipeline.ports import Fact, Ignored

OBSERVATION = "observation"
OBSERVATIONS_KEEP = MAX_AGE + TOLERANCE + timedelta(days=1)
"""A window holds no reading that is older than MAX_AGE, and none is told later than TOLERANCE before it was true."""
OTHERS_KEEP = timedelta(days=30)
"""As Postgres keeps them (settings.Postgres.keep_days)."""

_LENGTH = struct.Struct(">I")
_SHIFT = 40
_POSITION = (1 << _SHIFT) - 1
_IDS_EACH = 50_000


class ReplayedFacts(MemoryContextStore):
    """ContextStore. The day of a fact is that of the replay's clock when it was applied."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self._shelves = {True: _Shelf(OBSERVATIONS_KEEP), False: _Shelf(OTHERS_KEEP)}
        self.event_ids = _KnownEvents()  # type: ignore[assignment]
        self._day = 0

    def add(self, facts: Sequence[Fact], ignored: Sequence[Ignored]) -> None:
        """What a commit does. Ignored records are counted by the stage."""
        today = self._clock.now().toordinal()
        if today > self._day:
            self._day = today
            for shelf in self._shelves.values():
                shelf.expire(today)
        for fact in facts:
            self._shelves[fact.kind == OBSERVATION].put(today, fact.patient, fact.topic, fact.body)
            self.event_ids.add(fact.event_id)

    def facts_of(self, patient: str, statements: Mapping[str, Statement] | None = None) -> Iterator[Fact]:
        """As MemoryContextStore.facts_of; of a fact only patient, topic and body are known."""
        for member in closure(patient, self.statements if statements is None else statements):
            yield from self._stored(member)

    @property
    def version(self) -> int:
        """The last one that was given out; settable, for a replay that is taken up again."""
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        self._version = version

    def everything(self) -> Iterator[tuple[str, str, bytes, bool]]:
        """All facts that there still are: patient, topic, body, and whether it is an observation."""
        for observation, shelf in self._shelves.items():
            for patient in shelf.places:
                for topic, body in shelf.of(patient):
                    yield patient, topic, body, observation

    def restore(self, patient: str, topic: str, body: bytes, observation: bool) -> None:
        """A fact of an earlier replay; its days begin anew."""
        self._shelves[observation].put(self._clock.now().toordinal(), patient, topic, body)

    def _stored(self, patient: str) -> Iterator[Fact]:
        for shelf in self._shelves.values():
            for topic, body in shelf.of(patient):
                yield Fact(patient, "", "", _UNKNOWN, topic, 0, 0, body)


_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)


class _Shelf:
    """Bodies in a file for each day; places: patient -> where each lies."""

    def __init__(self, keep: timedelta) -> None:
        self._keep = keep.days
        self._files: dict[int, IO[bytes]] = {}
        self._ends: dict[int, int] = {}
        self._dirty: set[int] = set()
        self._topics: list[str] = []
        self.places: defaultdict[str, array[int]] = defaultdict(lambda: array("Q"))

    def put(self, day: int, patient: str, topic: str, body: bytes) -> None:
        """Adds a body."""
        file = self._files.get(day)
        if file is None:
            # Unbuffered reads of what is buffered for writing: `of` flushes first.
            file = self._files[day] = tempfile.TemporaryFile(prefix="readfirst-replay-", buffering=1 << 20)  # noqa: SIM115
            self._ends[day] = 0
        if topic not in self._topics:
            self._topics.append(topic)
        at = self._ends[day]
        file.write(_LENGTH.pack(len(body) << 4 | self._topics.index(topic)) + body)
        self._dirty.add(day)
        self._ends[day] = at + _LENGTH.size + len(body)
        self.places[patient].append(day << _SHIFT | at)

    def of(self, patient: str) -> Iterator[tuple[str, bytes]]:
        """The topics and bodies of a patient."""
        for day in self._dirty:
            self._files[day].flush()
        self._dirty.clear()
        for place in self.places.get(patient, ()):
            file = self._files.get(place >> _SHIFT)
            if file is not None:
                length, topic = self._head(file, place & _POSITION)
                yield topic, _read(file, (place & _POSITION) + _LENGTH.size, length)

    def _head(self, file: IO[bytes], position: int) -> tuple[int, str]:
        told = _LENGTH.unpack(_read(file, position, _LENGTH.size))[0]
        return told >> 4, self._topics[told & 15]

    def expire(self, today: int) -> None:
        """Lets go of the days that are over."""
        gone = [day for day in self._files if day < today - self._keep]
        for day in gone:
            self._files.pop(day).close()
            del self._ends[day]
            self._dirty.discard(day)
        if not gone:
            return
        first = (max(gone) + 1) << _SHIFT
        for patient, places in list(self.places.items()):
            kept = array("Q", [place for place in places if place >= first])
            if kept:
                self.places[patient] = kept
            else:
                del self.places[patient]


def _read(file: IO[bytes], position: int, length: int) -> bytes:
    return os.pread(file.fileno(), length, position)


class _KnownEvents:
    """Event ids as sorted 64-bit numbers: eight bytes each, and one in 2^64 mistaken. The newest so many."""

    MOST = 10_000_000

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._old: list[NDArray[np.uint64]] = []

    def add(self, event_id: str) -> None:
        """Remembers it."""
        self._new.add(hash(event_id) & 0xFFFF_FFFF_FFFF_FFFF)
        if len(self._new) >= _IDS_EACH:
            self._old.append(np.sort(np.fromiter(self._new, np.uint64, len(self._new))))
            self._new.clear()
            del self._old[: -self.MOST // _IDS_EACH]

    def __and__(self, event_ids: set[str]) -> set[str]:
        """Those of the ids that are known."""
        return {event_id for event_id in event_ids if self._known(hash(event_id) & 0xFFFF_FFFF_FFFF_FFFF)}

    def _known(self, number: int) -> bool:
        if number in self._new:
            return True
        wanted = np.uint64(number)
        return any((at := int(np.searchsorted(one, wanted))) < len(one) and one[at] == wanted for one in self._old)
