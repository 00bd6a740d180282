"""Facts, merges and applied offsets in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from pipeline.adapters.memory.transactions import Ledger, MemoryTransaction
from pipeline.errors import InvalidMessage
from pipeline.ports import Fact, Ignored, Place
from schemas.codec import decode_event
from schemas.events import AnyEvent
from schemas.topics import IMAGING


@dataclass(frozen=True, slots=True)
class Statement:
    """The newest thing said about an id: where it lives on (None: it stands alone), when that was learned, from which event."""

    survivor: str | None
    recorded_at: datetime
    event_id: str


class MemoryContextStore:
    """ContextStore. Its contents are open to tests: `facts`, `ignored`, `statements`; `behind`: who was judged by former rules."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.facts: list[Fact] = []
        self.by_patient: defaultdict[str, list[Fact]] = defaultdict(list)
        self.event_ids: set[str] = set()
        self.ignored: list[Ignored] = []
        self.statements: dict[str, Statement] = {}
        self.behind: set[str] = set()
        self._version = 0

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[MemoryContextTransaction]:
        """As ContextStore.begin."""
        return MemoryContextTransaction(self, group, places).run()

    def next_version(self) -> int:
        """Larger than every earlier one, rolled back ones included, as a database sequence is."""
        self._version += 1
        return self._version

    def add(self, facts: Sequence[Fact], ignored: Sequence[Ignored]) -> None:
        """What a commit does."""
        self.facts += facts
        self.ignored += ignored
        for fact in facts:
            self.by_patient[fact.patient].append(fact)
            self.event_ids.add(fact.event_id)

    def newest_by_topic(self) -> dict[str, datetime]:
        """topic -> when its newest fact was recorded."""
        newest: dict[str, datetime] = {}
        for fact in self.facts:
            newest[fact.topic] = max(fact.recorded_at, newest.get(fact.topic, fact.recorded_at))
        return newest

    def facts_of(self, patient: str, statements: Mapping[str, Statement] | None = None) -> Iterator[Fact]:
        """Those of the patient and of all merged into it, through any number of steps."""
        for member in closure(patient, self.statements if statements is None else statements):
            yield from self.by_patient.get(member, ())


def closure(patient: str, statements: Mapping[str, Statement]) -> list[str]:
    """The patient and everyone who lives on under it."""
    members = [patient]
    for member in members:
        members += [retired for retired, statement in statements.items() if statement.survivor == member]
    return members


def survivor_of(patient: str, statements: Mapping[str, Statement]) -> str:
    """The end of the chain of merges."""
    while (statement := statements.get(patient)) is not None and statement.survivor is not None:
        patient = statement.survivor
    return patient


class MemoryContextTransaction(MemoryTransaction):
    """ContextTransaction."""

    def __init__(self, store: MemoryContextStore, group: str, places: Collection[Place]) -> None:
        super().__init__(store.ledger, group, places)
        self._store = store
        self.version = 0
        self._facts: list[Fact] = []
        self._ignored: list[Ignored] = []
        self._said: dict[str, Statement] = {}

    def opened(self) -> None:
        """Takes the version once the partitions are locked, so that versions grow in the order of commits there."""
        self.version = self._store.next_version()

    def _statements(self) -> Mapping[str, Statement]:
        return {**self._store.statements, **self._said} if self._said else self._store.statements

    async def survivors(self, patients: Sequence[str]) -> Mapping[str, str]:
        """As ContextTransaction.survivors."""
        found = {patient: survivor_of(patient, self._statements()) for patient in patients}
        return {patient: survivor for patient, survivor in found.items() if survivor != patient}

    async def histories(self, patients: Sequence[str]) -> Mapping[str, list[AnyEvent]]:
        """As ContextTransaction.histories; every patient asked for has an entry."""
        statements = self._statements()
        return {patient: [decode_event(fact.body) for fact in self._store.facts_of(patient, statements)] for patient in patients}

    async def waiting(self, partitions: Collection[int], *, behind: bool = False) -> list[str]:
        """As ContextTransaction.waiting: also those whose studies are read."""
        came = [fact for fact in self._store.facts if fact.topic == IMAGING.name and fact.partition in partitions]
        return sorted({fact.patient for fact in came if not behind or fact.patient in self._store.behind})

    async def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """As ContextTransaction.known_events."""
        return self._store.event_ids & set(event_ids)

    async def lock_patients(self, patients: Sequence[str]) -> None:
        """As ContextTransaction.lock_patients."""
        await self.hold(("patient", patient) for patient in patients)

    async def set_survivor(self, retired: str, survivor: str | None, recorded_at: datetime, event_id: str) -> bool:
        """As ContextTransaction.set_survivor."""
        if retired == survivor:
            return False
        statements = self._statements()
        known = statements.get(retired)
        if known is not None and (known.recorded_at, known.event_id) >= (recorded_at, event_id):
            return False
        if survivor is not None and survivor_of(survivor, {**statements, retired: Statement(None, recorded_at, event_id)}) == retired:
            raise InvalidMessage("merge-cycle", "the surviving patient already lives on under the one to retire")
        self._said[retired] = Statement(survivor, recorded_at, event_id)
        return (known.survivor if known is not None else None) != survivor

    async def append(self, facts: Sequence[Fact], ignored: Sequence[Ignored]) -> None:
        """As ContextTransaction.append."""
        self._facts += facts
        self._ignored += ignored

    def commit(self) -> None:
        """Writes facts, merges and the applied offset."""
        super().commit()
        self._store.add(self._facts, self._ignored)
        self._store.statements.update(self._said)
