"""Takes the steps that are due: one message each, even when the sender dies between sending and noting it; and feeds the topic alerts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from pipeline.domain import alert_words, escalation
from pipeline.domain.escalation import Due
from pipeline.domain.escalation_policy import EscalationPolicy
from pipeline.ports import Clock, EventLog, Record
from pipeline.ports.escalation import AlertChange, AlertStore, Delivery, DueTransaction, Notice, Notifier, Try
from schemas import alerts, codec
from schemas.identifiers import event_id
from schemas.topics import ALERTS

log = structlog.get_logger()
BATCH = 50
"""Alerts whose messages one transaction waits for."""
LATE_BATCH = 2000
AT_ONCE = 16
OUTBOX = 500
PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=5)
ON_THE_PAGE = Delivery("delivered")
TOLD_BEFORE = Delivery("delivered", "by a worker that died before it could note it")


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of one due step."""

    due: Due
    tried: Try
    delivery: Delivery
    key: str


class AlertSteps:
    """The timer's work. Any number of workers may run it: each alert is held by one."""

    def __init__(
        self,
        store: AlertStore,
        notifier: Notifier,
        log: EventLog,
        clock: Clock,
        policy: Callable[[], EscalationPolicy],
        page: str,
    ) -> None:
        """page: the address under which people reach the list, without a slash at the end."""
        self._store = store
        self._notifier = notifier
        self._log = log
        self._clock = clock
        self._policy = policy
        self._page = page
        self.sent = 0
        self.undelivered = 0
        self.late = 0
        """steps found undone longer after their time than the policy's limit"""

    async def advance(self) -> int:
        """Sends what is due, the missed in one message where there are many. How many alerts it dealt with: 0 means all is done."""
        now, policy = self._clock.now(), self._policy()
        return await self._late(now, policy) + await self._prompt(now, policy)

    async def publish(self) -> int:
        """Tells the topic what it does not know yet. Raises Unavailable: the same again later."""
        count = 0
        while True:
            async with self._store.unpublished(OUTBOX) as entries:
                if entries:
                    await self._log.append([_record(entry) for entry in entries])
            count += len(entries)
            if len(entries) < OUTBOX:
                return count

    async def _prompt(self, now: datetime, policy: EscalationPolicy) -> int:
        async with self._store.due(now, BATCH) as transaction:
            dues = await _with_something_to_do(transaction, now, policy)
            await self._send_each(transaction, dues, now, policy)
            touched = _studies(dues)
        await self._store.touch(touched)
        return len(dues)

    async def _late(self, now: datetime, policy: EscalationPolicy) -> int:
        """After a downtime or a clock that jumped: no storm of messages, and nobody left untold."""
        async with self._store.due(now - policy.late, LATE_BATCH) as transaction:
            dues = await _with_something_to_do(transaction, now, policy)
            self.late += len(dues)
            groups: defaultdict[tuple[str, str, bool], list[Due]] = defaultdict(list)
            for due in dues:
                groups[due.step.role, due.step.channel, due.index is None].append(due)
            for group in groups.values():
                if len(group) > policy.storm:
                    await self._send_together(transaction, group, now, policy)
                else:
                    await self._send_each(transaction, group, now, policy)
            touched = _studies(dues)
        await self._store.touch(touched)
        return len(dues)

    async def _send_each(self, transaction: DueTransaction, dues: Sequence[Due], now: datetime, policy: EscalationPolicy) -> None:
        if not dues:
            return
        tries = await transaction.mark([due.key for due in dues])
        places = asyncio.Semaphore(AT_ONCE)

        async def send(due: Due) -> _Sent:
            tried = tries[due.key]
            if tried.told:
                return _Sent(due, tried, TOLD_BEFORE, due.key)
            async with places:
                delivery = await self._deliver(self._notice(due, tried, now, policy), due, policy)
                if delivery.outcome == "delivered":
                    await transaction.told([due.key])
            return _Sent(due, tried, delivery, due.key)

        await self._note(transaction, await asyncio.gather(*map(send, dues)), policy)

    async def _send_together(self, transaction: DueTransaction, dues: Sequence[Due], now: datetime, policy: EscalationPolicy) -> None:
        """One message for all: steps, or withdrawals.

        Its key is that of this very set of steps, marked one by one, so that a set that has grown is a repeat.
        """
        tries = await transaction.mark([due.key for due in dues])
        before = [due for due in dues if tries[due.key].told]
        await self._note(transaction, [_Sent(due, tries[due.key], TOLD_BEFORE, due.key) for due in before], policy)
        dues = [due for due in dues if not tries[due.key].told]
        if not dues:
            return
        together = event_id("alert-digest", "|".join(sorted(due.key for due in dues)))
        repeat = any(tries[due.key].repeat for due in dues)
        link = f"{self._page}/"
        notice = Notice(
            key=together,
            role=dues[0].step.role,
            subject=alert_words.digest_subject(dues),
            text=alert_words.digest_text(dues, now, link, policy, repeat=repeat),
            link=link,
            at=now,
            kind="withdrawn" if dues[0].index is None else "digest",
            category=min(due.alert.category for due in dues),
            repeat=repeat,
        )
        delivery = await self._deliver(notice, dues[0], policy)
        if delivery.outcome == "delivered":
            await transaction.told([due.key for due in dues])
        log.warning("alerts_told_together", count=len(dues), outcome=delivery.outcome)
        await self._note(transaction, [_Sent(due, tries[due.key], delivery, together) for due in dues], policy)

    def _notice(self, due: Due, tried: Try, now: datetime, policy: EscalationPolicy) -> Notice:
        link = f"{self._page}/alert/{due.alert.id}"
        return Notice(
            key=due.key,
            role=due.step.role,
            subject=alert_words.subject(due, now),
            text=alert_words.text(due, now, link, policy, repeat=tried.repeat),
            link=link,
            at=now,
            kind="withdrawn" if due.index is None else "notified" if due.index == 0 else "escalated",
            category=due.alert.category,
            alert_id=due.alert.id,
            repeat=tried.repeat,
        )

    async def _deliver(self, notice: Notice, due: Due, policy: EscalationPolicy) -> Delivery:
        channel = policy.channels.get(due.step.channel)
        if channel is None:
            return Delivery("refused", f"the site has no channel {due.step.channel!r}")
        return ON_THE_PAGE if channel.kind == "page" else await self._notifier.send(notice, channel)

    async def _note(self, transaction: DueTransaction, sent: Sequence[_Sent], policy: EscalationPolicy) -> None:
        if not sent:
            return
        now = self._clock.now()
        refused = [one.due.key for one in sent if one.delivery.outcome == "refused"]
        if refused:
            await transaction.refused(refused)
        await transaction.store([_delivered(one, now, policy) if one.delivery.outcome == "delivered" else _again(one, now) for one in sent])
        failed = [one for one in sent if one.delivery.outcome != "delivered"]
        self.sent += len(sent) - len(failed)
        self.undelivered += len(failed)
        log.info("alert_steps_taken", sent=len(sent) - len(failed), undelivered=len(failed), repeats=sum(one.tried.repeat for one in sent))


async def _with_something_to_do(transaction: DueTransaction, now: datetime, policy: EscalationPolicy) -> list[Due]:
    """What is due of the alerts taken; one with nothing to do (its ladder was made shorter) is put to rest, one in quiet hours put off."""
    sleeping = {alert.id: later for alert in transaction.due if (later := escalation.asleep(alert, now, policy)) is not None}
    found = [(alert, escalation.due(alert, now, policy)) for alert in transaction.due if alert.id not in sleeping]
    idle = [escalation.at_rest(alert, now, policy) for alert, due in found if due is None]
    await transaction.store([AlertChange(alert, None) for alert in (*sleeping.values(), *idle)])
    return [due for _, due in found if due is not None]


def _delivered(one: _Sent, now: datetime, policy: EscalationPolicy) -> AlertChange:
    after = escalation.taken(one.due, now, policy)
    step: alerts.Step = "retracted" if one.due.index is None else alert_words.STEP_WORDS[escalation.step_event(one.due.index)]
    missed = f"; not sent in time: {', '.join(step.role for step in one.due.missed)}" if one.due.missed else ""
    told = f"{one.due.step.role} told over {one.due.step.channel}{missed}"
    return AlertChange(after, alert_words.entry(after, step, told, now, to=one.due.step, key=one.key, repeat=one.tried.repeat))


def _again(one: _Sent, now: datetime) -> AlertChange:
    """The same step later; the history says so once."""
    pause = min(PAUSE * 2 ** min(one.tried.number - 1, 10), LONGEST_PAUSE)
    later = escalation.postponed(one.due.alert, now + pause)
    if one.tried.number > 1:
        return AlertChange(later, None)
    words = f"{one.due.step.channel} did not take it: {one.delivery.detail}"
    return AlertChange(later, alert_words.entry(later, "undelivered", words, now, to=one.due.step))


def _studies(dues: Sequence[Due]) -> list[str]:
    return sorted({due.alert.study_uid for due in dues if due.alert.study_uid is not None})


def _record(entry: alerts.Alert) -> Record:
    headers = {"event_id": entry.event_id, "trace_id": "", "source": "escalation"}
    return Record(ALERTS, entry.study_uid.encode(), codec.encode(entry), headers)
