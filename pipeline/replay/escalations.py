"""Who would have been told of what, and when: the live escalation services on a ranking's history, with a clock that the history moves.

Alerts on studies only: whether the model or a feed is down is no matter of a log's history. Everybody can be reached, nobody acknowledges.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.escalation import MemoryAlerts
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.domain.escalation_policy import Channel, EscalationPolicy
from pipeline.ports.escalation import Delivery, Notice
from pipeline.replay.past import Change
from pipeline.services.alert_steps import AlertSteps
from pipeline.services.escalation import Escalation
from schemas.alerts import Alert
from schemas.worklist import WorklistItem

SWEEP = timedelta(seconds=5)
"""How soon after its deadline a study is looked at, as the escalation agent does it."""
_SILENCED = ("duplicate", "budget")


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


class _Told:
    """One history on its way through the services."""

    def __init__(self, policy: EscalationPolicy) -> None:
        self._clock = ManualClock()
        self._store = MemoryAlerts()
        self._escalation = Escalation(self._store, MemoryWorklist(), self._clock, lambda: policy)
        self._steps = AlertSteps(self._store, _Reached(), MemoryEventLog(), self._clock, lambda: policy, page="")
        self._items: dict[str, WorklistItem] = {}
        self._deadlines: list[tuple[datetime, str]] = []

    @property
    def entries(self) -> list[Alert]:
        return self._store.entries

    async def judge(self, item: WorklistItem, at: datetime) -> None:
        """A new state of an item; a step that is due at once is taken."""
        uid = item.study.study_uid
        self._items[uid] = item
        if item.state != "closed" and item.due_at > at:
            heapq.heappush(self._deadlines, (item.due_at + SWEEP, uid))
        await self._look(item, at)

    async def wait(self, until: datetime | None) -> None:
        """What falls due up to then, one moment after the other."""
        while (at := self._next()) is not None and (until is None or at <= until):
            passed = []
            while self._deadlines and self._deadlines[0][0] <= at:
                passed.append(heapq.heappop(self._deadlines)[1])
            for uid in dict.fromkeys(passed):
                await self._look(self._items[uid], at)
            await self._advance(at)

    def _next(self) -> datetime | None:
        steps = (alert.next_at for alert in self._store.alerts.values() if alert.next_at is not None)
        return min([*steps, *(at for at, _ in self._deadlines[:1])], default=None)

    async def _look(self, item: WorklistItem, at: datetime) -> None:
        """At the item, and again at those that were silent because of another alert."""
        self._clock.set(at)
        silenced = [
            alert.study_uid or "" for alert in self._store.alerts.values() if alert.state == "suppressed" and alert.muted in _SILENCED
        ]
        await self._escalation.observe([item])
        if silenced:
            await self._escalation.observe([self._items[uid] for uid in silenced])
        await self._advance(at)

    async def _advance(self, at: datetime) -> None:
        self._clock.set(at)
        while await self._steps.advance():
            pass
