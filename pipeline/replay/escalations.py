"""Who would have been told of what, and when: the live escalation services on a ranking's history, with a clock that the history moves.

Alerts on studies only: whether the model or a feed is down is no matter of a log's history. Everybody can be reached, nobody acknowledges.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.escalation import MemoryAlerts, MemoryAlertTransaction
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.domain import escalation as alert_domain
from pipeline.domain import triggers
from pipeline.domain.escalation_policy import Channel, EscalationPolicy
from pipeline.ports.escalation import AlertChange, Delivery, Notice
from pipeline.replay.past import Change
from pipeline.services.alert_steps import AlertSteps
from pipeline.services.escalation import Escalation
from schemas.alerts import Alert
from schemas.worklist import WorklistItem

SWEEP = timedelta(seconds=5)
"""How soon after its deadline a study is looked at, as the escalation agent does it."""
_SILENCED = ("duplicate", "budget")
_A_SHIFT = timedelta(days=1)
"""Alerts count towards a shift's budget for as long."""

T = TypeVar("T")


async def escalations(changes: Iterable[Change], policy: EscalationPolicy, until: datetime | None = None) -> list[Alert]:
    """Every line of every alert's history, in order; `changes` by time. Without `until` time goes on until nothing is due any more."""
    told = _Told(policy)
    for change in changes:
        if until is None or change.at <= until:
            await told.wait(change.at)
            await told.judge(change.item, change.at)
    await told.wait(until)
    return told.entries


class _Reached:
    """Notifier: everybody is reached at once."""

    async def send(self, notice: Notice, channel: Channel) -> Delivery:
        """As Notifier.send."""
        return Delivery("delivered")


class _Alerts(MemoryAlerts):
    """AlertStore that finds alerts without looking at all of them, and lets go of those that no rule asks about any more."""

    def __init__(self) -> None:
        super().__init__()
        self.of_study: defaultdict[str, set[str]] = defaultdict(set)
        self.of_patient: defaultdict[str, set[str]] = defaultdict(set)
        self.waiting: dict[str, alert_domain.Alert] = {}
        self.silenced: dict[str, str] = {}
        self._resting: deque[tuple[datetime, str]] = deque()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MemoryAlertTransaction]:
        """As AlertStore.begin."""
        transaction = _Transaction(self, [])
        yield transaction
        self.write(transaction.changes)

    @asynccontextmanager
    async def due(self, before: datetime, limit: int) -> AsyncIterator[MemoryAlertTransaction]:
        """As AlertStore.due."""
        found = sorted((at, alert.id) for alert in self.waiting.values() if (at := alert.next_at) is not None and at <= before)
        transaction = _Transaction(self, [self.alerts[identity] for _, identity in found[:limit]])
        yield transaction
        self.write(transaction.changes)

    def write(self, changes: Sequence[AlertChange]) -> None:
        """As a commit does it."""
        super().write(changes)
        for alert in (change.alert for change in changes):
            self.of_study[alert.subject].add(alert.id)
            self.of_patient[alert.patient or ""].add(alert.id)
            _hold(self.waiting, alert.id, alert, alert.next_at is not None)
            _hold(self.silenced, alert.id, alert.subject, alert.state == "suppressed" and alert.muted in _SILENCED)
            if alert.state not in alert_domain.STANDING and alert.next_at is None:
                self._resting.append((alert.changed_at, alert.id))

    def forget(self, before: datetime) -> None:
        """Those at rest since then."""
        while self._resting and self._resting[0][0] < before:
            since, identity = self._resting.popleft()
            alert = self.alerts.get(identity)
            if alert is not None and alert.changed_at == since:
                del self.alerts[identity]
                for index, key in ((self.of_study, alert.subject), (self.of_patient, alert.patient or "")):
                    index[key].discard(identity)
                    if not index[key]:
                        del index[key]


class _Transaction(MemoryAlertTransaction):
    """AlertTransaction and DueTransaction; nobody else is there to be locked out."""

    _store: _Alerts

    async def of(self, studies: Collection[str], patients: Collection[str]) -> list[alert_domain.Alert]:
        """As AlertTransaction.of."""
        ids = {one for study in studies for one in self._store.of_study.get(study, ())}
        ids |= {one for patient in patients for one in self._store.of_patient.get(patient, ())}
        found = (self._store.alerts[one] for one in sorted(ids) if one in self._store.alerts)
        return [alert for alert in found if alert.study_uid in studies or alert.patient in patients]


def _hold(held: dict[str, T], key: str, value: T, wanted: bool) -> None:
    if wanted:
        held[key] = value
    else:
        held.pop(key, None)


class _Told:
    """One history on its way through the services."""

    def __init__(self, policy: EscalationPolicy) -> None:
        self._policy = policy
        self._clock = ManualClock()
        self._store = _Alerts()
        self._escalation = Escalation(self._store, MemoryWorklist(), self._clock, lambda: policy)
        self._steps = AlertSteps(self._store, _Reached(), MemoryEventLog(), self._clock, lambda: policy, page="")
        self._open: dict[str, WorklistItem] = {}
        self._deadlines: list[tuple[datetime, str]] = []

    @property
    def entries(self) -> list[Alert]:
        """What has been told so far."""
        return self._store.entries

    async def judge(self, item: WorklistItem, at: datetime) -> None:
        """A new state of an item; a step that is due at once is taken."""
        uid = item.study.study_uid
        if item.state == "closed":
            self._open.pop(uid, None)
        else:
            self._open[uid] = item
            if item.due_at > at:
                heapq.heappush(self._deadlines, (item.due_at + SWEEP, uid))
        await self._look(item, at)
        self._store.forget(at - self._policy.remembered - _A_SHIFT)

    async def wait(self, until: datetime | None) -> None:
        """What falls due up to then, one moment after the other."""
        while (at := self._next()) is not None and (until is None or at <= until):
            passed = []
            while self._deadlines and self._deadlines[0][0] <= at:
                passed.append(heapq.heappop(self._deadlines)[1])
            for uid in dict.fromkeys(passed):
                if uid in self._open:
                    await self._look(self._open[uid], at)
            await self._advance(at)

    def _next(self) -> datetime | None:
        moments = [self._next_step(), self._deadlines[0][0] if self._deadlines else None]
        return min((at for at in moments if at is not None), default=None)

    async def _look(self, item: WorklistItem, at: datetime) -> None:
        """At the item, and again at those that were silent because of another alert. Most items give no cause, and never did."""
        if item.study.study_uid not in self._store.of_study and not triggers.may_matter(item, at, self._policy):
            return
        self._clock.set(at)
        silenced = list(self._store.silenced.values())
        await self._escalation.observe([item])
        if again := [self._open[uid] for uid in silenced if uid in self._open]:
            await self._escalation.observe(again)
        await self._advance(at)

    async def _advance(self, at: datetime) -> None:
        self._clock.set(at)
        while (first := self._next_step()) is not None and first <= at and await self._steps.advance():
            pass

    def _next_step(self) -> datetime | None:
        return min((alert.next_at for alert in self._store.waiting.values() if alert.next_at is not None), default=None)
