"""Alerts in memory, beside the worklist in memory."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

from pipeline.domain import escalation
from pipeline.domain.escalation import Alert
from pipeline.domain.triggers import OF_MODELS, Usage
from pipeline.errors import NotFound
from pipeline.ports.escalation import AlertChange, AlertCounts, Try
from schemas import alerts
from schemas.worklist import WorklistItem


class Items(Protocol):
    """The worklist in memory, as far as alerts need it."""

    def all_items(self) -> list[tuple[WorklistItem, int]]:
        """Every item with its seq."""
        ...

    def touch(self, study_uid: str) -> None:
        """A new seq for the study."""
        ...


class MemoryAlerts:
    """AlertStore and AlertReader."""

    def __init__(self, items: Items | None = None) -> None:
        self.alerts: dict[str, Alert] = {}
        self.entries: list[alerts.Alert] = []
        self.published = 0
        self.tries: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.told: set[str] = set()
        self._items = items
        self._held: set[str] = set()
        self._turn = asyncio.Lock()
        self._outbox = asyncio.Lock()
        self._freed = asyncio.Condition()

    # --- the store

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryAlertTransaction]:
        """As AlertStore.begin."""
        async with self._turn:
            transaction = MemoryAlertTransaction(self, [])
            try:
                yield transaction
                self.write(transaction.changes)
            finally:
                await self._let_go(transaction.held)

    @asynccontextmanager
    async def due(self, before: datetime, limit: int) -> AsyncIterator[MemoryAlertTransaction]:
        """As AlertStore.due."""
        found = [a for a in self.alerts.values() if a.next_at is not None and a.next_at <= before and a.id not in self._held]
        found = sorted(found, key=lambda alert: (alert.next_at, alert.id))[:limit]
        mine = {alert.id for alert in found}
        self._held |= mine
        try:
            transaction = MemoryAlertTransaction(self, found)
            yield transaction
            self.write(transaction.changes)
        finally:
            await self._let_go(mine)

    @asynccontextmanager
    async def unpublished(self, limit: int) -> AsyncIterator[Sequence[alerts.Alert]]:
        """As AlertStore.unpublished."""
        async with self._outbox:
            batch = self.entries[self.published : self.published + limit]
            yield batch
            self.published += len(batch)

    async def to_judge(self, now: datetime, since: int, limit: int) -> tuple[list[WorklistItem], int]:
        """As AlertStore.to_judge."""
        rows = self._items.all_items() if self._items is not None else []
        mine: defaultdict[str, list[Alert]] = defaultdict(list)
        for alert in self.alerts.values():
            mine[alert.subject].append(alert)

        def wanted(item: WorklistItem, seq: int) -> bool:
            own = mine[item.study.study_uid]
            if item.state == "closed":
                return any(alert.state in escalation.STANDING for alert in own)
            overdue = item.due_at <= now and not any(alert.trigger == "deadline" for alert in own)
            silenced = any(alert.state == "suppressed" and alert.muted in ("duplicate", "budget") for alert in own)
            return seq > since or overdue or silenced

        return [item for item, seq in rows if wanted(item, seq)][:limit], max((seq for _, seq in rows), default=since)

    async def ahead_of(self, now: datetime) -> list[str]:
        """As AlertStore.ahead_of."""
        return [alert.id for alert in self.alerts.values() if alert.changed_at > now and alert.state in escalation.STANDING]

    async def touch(self, studies: Collection[str]) -> None:
        """As AlertStore.touch."""
        for study in studies:
            if self._items is not None:
                self._items.touch(study)

    # --- the reader

    async def in_states(self, states: Collection[str], limit: int = 200) -> list[Alert]:
        """As AlertReader.in_states."""
        found = [alert for alert in self.alerts.values() if alert.state in states]
        return sorted(found, key=lambda alert: (alert.category, alert.raised_at, alert.id))[:limit]

    async def get(self, alert_id: str) -> Alert:
        """As AlertReader.get."""
        try:
            return self.alerts[alert_id]
        except KeyError:
            raise NotFound("no such alert") from None

    async def history(self, alert_id: str) -> list[alerts.Alert]:
        """As AlertReader.history."""
        return [entry for entry in self.entries if entry.alert_id == alert_id]

    async def of_studies(self, studies: Collection[str]) -> Mapping[str, list[Alert]]:
        """As AlertReader.of_studies."""
        found: defaultdict[str, list[Alert]] = defaultdict(list)
        for alert in sorted(self.alerts.values(), key=lambda alert: (alert.category, alert.raised_at, alert.id)):
            if alert.study_uid is not None and alert.study_uid in studies:
                found[alert.study_uid].append(alert)
        return dict(found)

    async def counts(self) -> AlertCounts:
        """As AlertReader.counts."""
        states = Counter(alert.state for alert in self.alerts.values())
        return AlertCounts(states["notified"] + states["escalated"], states["suppressed"])

    async def hold(self, found: Collection[Alert]) -> set[str]:
        """Waits until nobody else holds them, and takes them."""
        ids = {alert.id for alert in found}
        async with self._freed:
            await self._freed.wait_for(lambda: not ids & self._held)
            self._held |= ids
        return ids

    def release_all(self) -> None:
        """What a database does when its clients have died."""
        self._held.clear()

    async def _let_go(self, ids: set[str]) -> None:
        async with self._freed:
            self._held -= ids
            self._freed.notify_all()

    def write(self, changes: Sequence[AlertChange]) -> None:
        """What a commit does."""
        for change in changes:
            self.alerts[change.alert.id] = change.alert
            if change.entry is not None:
                self.entries.append(change.entry)


class MemoryAlertTransaction:
    """AlertTransaction and DueTransaction."""

    def __init__(self, store: MemoryAlerts, due: Sequence[Alert]) -> None:
        self._store = store
        self.due = [*due]
        self.changes: list[AlertChange] = []
        self.held: set[str] = set()

    async def of(self, studies: Collection[str], patients: Collection[str]) -> list[Alert]:
        """As AlertTransaction.of."""
        return await self._read(lambda alert: alert.study_uid in studies or alert.patient in patients)

    async def of_subject(self, subject: str) -> list[Alert]:
        """As AlertTransaction.of_subject."""
        return await self._read(lambda alert: alert.subject == subject)

    async def get(self, alert_id: str) -> Alert:
        """As AlertTransaction.get."""
        found = await self._read(lambda alert: alert.id == alert_id)
        return found[0] if found else await self._store.get(alert_id)

    async def _read(self, wanted: Callable[[Alert], bool]) -> list[Alert]:
        ids = [alert.id for alert in self._store.alerts.values() if wanted(alert)]
        self.held |= await self._store.hold([self._store.alerts[one] for one in ids if one not in self.held])
        return [self._store.alerts[one] for one in ids]

    async def usage(self, since: datetime) -> Usage:
        """As AlertTransaction.usage."""
        shift = [alert for alert in self._store.alerts.values() if alert.raised_at >= since and alert.category > 1]
        judged = [alert.confirmed for alert in shift if alert.trigger in OF_MODELS and alert.confirmed is not None]
        return Usage(sum(alert.muted is None for alert in shift), len(judged), sum(judged))

    async def store(self, changes: Sequence[AlertChange]) -> None:
        """As AlertTransaction.store."""
        self.changes += changes

    async def mark(self, keys: Collection[str]) -> Mapping[str, Try]:
        """As DueTransaction.mark."""
        store = self._store
        store.tries.update(set(keys) - store.told)
        return {key: Try(store.tries[key], store.tries[key] - 1 > store.refusals[key], key in store.told) for key in keys}

    async def told(self, keys: Collection[str]) -> None:
        """As DueTransaction.told."""
        self._store.told.update(keys)

    async def refused(self, keys: Collection[str]) -> None:
        """As DueTransaction.refused."""
        self._store.refusals.update(keys)
