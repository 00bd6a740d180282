"""Raises, changes and withdraws alerts as the worklist moves; looks after what no record tells of: time, lost records, silent feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from pipeline.domain import alert_words, escalation, triggers
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import EscalationPolicy, Trigger
from pipeline.domain.triggers import Usage, Verdict
from pipeline.ports import Clock, Summary, WorklistReader
from pipeline.ports.escalation import AlertChange, AlertStore, AlertTransaction
from schemas.worklist import WorklistItem

log = structlog.get_logger()
CHUNK = 500
SWEEP_MAX = 5000


class Escalation:
    """Handles items from wherever they come. The counters count verdicts."""

    def __init__(self, store: AlertStore, reader: WorklistReader, clock: Clock, policy: Callable[[], EscalationPolicy]) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._policy = policy
        self._seq = 0
        self._judged_by = policy()
        self._degraded_since: datetime | None = None
        self.raised = 0
        self.withdrawn = 0
        self.suppressed = 0
        self.too_late = 0
        """causes for an alert that came for a closed study, which gets none: whoever read it, or cancelled it, needs no call"""

    async def observe(self, items: Iterable[WorklistItem]) -> None:
        """Judges the newest state of each study among `items`. Twice the same, or late, changes nothing."""
        await self._observe_all(items, first_hand=True)

    async def _observe_all(self, items: Iterable[WorklistItem], first_hand: bool) -> None:
        newest: dict[str, WorklistItem] = {}
        for item in items:
            known = newest.get(item.study.study_uid)
            if known is None or known.context_version <= item.context_version:
                newest[item.study.study_uid] = item
        todo = list(newest.values())
        for start in range(0, len(todo), CHUNK):
            await self._observe(todo[start : start + CHUNK], first_hand)

    async def sweep(self) -> None:
        """What the topic may not tell: passed deadlines, items whose record was lost, a clock that went back, the model and the feeds."""
        now = self._clock.now()
        ahead = await self._store.ahead_of(now + timedelta(seconds=30))
        for alert_id in ahead:
            async with self._store.begin() as transaction:
                alert = await transaction.get(alert_id)
                await transaction.store([AlertChange(escalation.rewound(alert, now), None)])
        if ahead:
            log.warning("clock_went_back", alerts=len(ahead))
        if (policy := self._policy()) != self._judged_by:  # the limits are other ones: everybody is judged again
            self._seq, self._judged_by = 0, policy
        items, self._seq = await self._store.to_judge(now, self._seq, SWEEP_MAX)
        await self._observe_all(items, first_hand=False)
        await self._operations(await self._reader.summary(now), now)

    async def _observe(self, items: Sequence[WorklistItem], first_hand: bool) -> None:
        now, policy = self._clock.now(), self._policy()
        async with self._store.begin() as transaction:
            found = await transaction.of([item.study.study_uid for item in items], sorted({item.patient for item in items}))
            usage = await transaction.usage(policy.shift_start(now))
            verdicts = _judge(items, found, usage, now, policy)
            await transaction.store([_change(one, now) for one in verdicts])
        self._count(verdicts)
        if first_hand:  # the sweep looks at what the topic has told already
            known = {alert.study_uid for alert in found}
            self.too_late += sum(_too_late(item, now, policy) for item in items if item.study.study_uid not in known)
        seen = {one.alert.study_uid for one in verdicts if one.event != "change" and one.alert.study_uid is not None}
        await self._store.touch(sorted(seen))

    async def _operations(self, summary: Summary, now: datetime) -> None:
        """The model and the feeds: told when down for long, withdrawn when back."""
        policy = self._policy()
        self._degraded_since = (self._degraded_since or now) if summary.degraded else None
        since = self._degraded_since
        down = since is not None and now - since >= timedelta(minutes=policy.model_down)
        if down or not summary.degraded:  # in between an agent that has just started does not know for how long
            finding = "the risk model does not answer: the list runs on rules alone"
            await self._standing("model", "model-down", finding, since if down else None)
        for feed in sorted({*policy.feed_down, *summary.feeds}):
            last, limit = summary.feeds.get(feed), policy.feed_down.get(feed)
            silent = last is not None and limit is not None and now - last >= timedelta(minutes=limit)
            finding = f"nothing has come over the feed {feed}"
            await self._standing(f"feed/{feed}", "feed-down", finding, last if silent else None, watched=limit is not None)

    async def _standing(self, subject: str, trigger: Trigger, finding: str, since: datetime | None, *, watched: bool = True) -> None:
        """Brings the alert of what is no study in line with whether it holds; `since` None: it does not. watched: whether the site asks."""
        now, policy = self._clock.now(), self._policy()
        on = policy.rules[trigger].on and watched
        async with self._store.begin() as transaction:
            known = next((alert for alert in await transaction.of_subject(subject) if alert.trigger == trigger), None)
            standing = known is not None and known.state in escalation.STANDING
            if since is not None and on and not standing:
                words = f"{finding}, since {since:%H:%MZ}"
                fresh = triggers.of_operations(subject, trigger, words, since, now, policy)
                alert = fresh if known is None else escalation.raised(_again(known, words, since), now, policy)
                await self._say(transaction, alert, "raise", words, now)
            elif (since is None or not on) and standing and known is not None:
                note = "it is back" if on else "the site's rules ask for it no longer"
                await self._say(transaction, escalation.apply(known, "withdraw", now), "withdraw", note, now)

    async def _say(self, transaction: AlertTransaction, alert: Alert, event: escalation.Event, note: str, now: datetime) -> None:
        await transaction.store([AlertChange(alert, alert_words.entry(alert, alert_words.STEP_WORDS[event], note, now))])
        self._count([Verdict(alert, event, note)])

    def _count(self, verdicts: Sequence[Verdict]) -> None:
        counts = {event: sum(one.event == event for one in verdicts) for event in ("raise", "withdraw", "mute")}
        self.raised += counts["raise"]
        self.withdrawn += counts["withdraw"]
        self.suppressed += counts["mute"]
        if verdicts:
            log.info(
                "alerts_judged", raised=counts["raise"], withdrawn=counts["withdraw"], suppressed=counts["mute"], changes=len(verdicts)
            )


def _judge(items: Sequence[WorklistItem], found: Sequence[Alert], usage: Usage, now: datetime, policy: EscalationPolicy) -> list[Verdict]:
    """Item after item, each seeing what the one before led to."""
    alerts = {alert.id: alert for alert in found}
    verdicts: list[Verdict] = []
    for item in items:
        uid = item.study.study_uid
        own = [alert for alert in alerts.values() if alert.study_uid == uid]
        if any(alert.context_version > item.context_version for alert in own):
            continue
        others = [alert for alert in alerts.values() if alert.study_uid != uid and alert.patient == item.patient]
        for one in triggers.judge(item, own, others, usage, now, policy):
            verdicts.append(one)
            alerts[one.alert.id] = one.alert
            if one.event == "raise" and one.alert.category > 1:
                usage = Usage(usage.raised + 1, usage.judged, usage.confirmed)
    return verdicts


def _too_late(item: WorklistItem, now: datetime, policy: EscalationPolicy) -> bool:
    """Time that passes for a closed study is no cause."""
    if item.state != "closed":
        return False
    return any(one.fresh and one.trigger != "deadline" for one in triggers.candidates(item, now, policy))


def _change(verdict: Verdict, now: datetime) -> AlertChange:
    if verdict.note is None:
        return AlertChange(verdict.alert, None)
    return AlertChange(verdict.alert, alert_words.entry(verdict.alert, alert_words.STEP_WORDS[verdict.event], verdict.note, now))


def _again(alert: Alert, finding: str, since: datetime) -> Alert:
    return replace(alert, finding=finding, identified_at=since)
