"""The life of an alert as a table: which state, on which event, goes where; and which step is due when.

Acknowledge-or-escalate: what nobody acknowledges goes up the ladder (notified, escalated), what somebody has acknowledged waits for the
reading, and only a read study, a person's word or a vanished reason closes it. Documentation as ACR Actionable Reporting asks: six fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

import msgspec
from msgspec.structs import replace

from pipeline.domain.escalation_policy import Category, EscalationPolicy, Step, Trigger
from schemas.identifiers import event_id
from schemas.time import Instant

State = Literal["notified", "escalated", "acknowledged", "suppressed", "resolved", "withdrawn"]
OPEN: frozenset[State] = frozenset({"notified", "escalated"})
"""Somebody must still react."""
STANDING: frozenset[State] = OPEN | {"acknowledged", "suppressed"}
"""The reason holds."""

Event = Literal["raise", "mute", "change", "notify", "escalate", "acknowledge", "take-over", "read", "resolve", "withdraw"]
Effect = Literal["start the ladder", "stop the ladder", "tell those told"]
Muted = Literal["duplicate", "persistent", "budget"]

_START: frozenset[Effect] = frozenset({"start the ladder"})
_STOP: frozenset[Effect] = frozenset({"stop the ladder"})
_RETRACT: frozenset[Effect] = frozenset({"stop the ladder", "tell those told"})
_NOTHING: frozenset[Effect] = frozenset()

TABLE: Mapping[tuple[State | None, Event], tuple[State, frozenset[Effect]]] = MappingProxyType(
    {
        (None, "raise"): ("notified", _START),
        (None, "mute"): ("suppressed", _STOP),
        ("notified", "notify"): ("notified", _NOTHING),
        ("notified", "escalate"): ("escalated", _NOTHING),
        ("notified", "change"): ("notified", _NOTHING),
        ("notified", "raise"): ("notified", _START),
        ("notified", "acknowledge"): ("acknowledged", _STOP),
        ("notified", "take-over"): ("acknowledged", _STOP),
        ("notified", "read"): ("resolved", _STOP),
        ("notified", "resolve"): ("resolved", _STOP),
        ("notified", "withdraw"): ("withdrawn", _RETRACT),
        ("escalated", "escalate"): ("escalated", _NOTHING),
        ("escalated", "change"): ("escalated", _NOTHING),
        ("escalated", "raise"): ("notified", _START),
        ("escalated", "acknowledge"): ("acknowledged", _STOP),
        ("escalated", "take-over"): ("acknowledged", _STOP),
        ("escalated", "read"): ("resolved", _STOP),
        ("escalated", "resolve"): ("resolved", _STOP),
        ("escalated", "withdraw"): ("withdrawn", _RETRACT),
        ("acknowledged", "raise"): ("notified", _START),
        ("acknowledged", "take-over"): ("acknowledged", _STOP),
        ("acknowledged", "read"): ("resolved", _STOP),
        ("acknowledged", "resolve"): ("resolved", _STOP),
        ("acknowledged", "withdraw"): ("withdrawn", _RETRACT),
        ("suppressed", "raise"): ("notified", _START),
        ("suppressed", "mute"): ("suppressed", _STOP),
        ("suppressed", "read"): ("resolved", _STOP),
        ("suppressed", "resolve"): ("resolved", _STOP),
        ("suppressed", "withdraw"): ("withdrawn", _STOP),
        ("resolved", "raise"): ("notified", _START),
        ("resolved", "mute"): ("suppressed", _STOP),
        ("withdrawn", "raise"): ("notified", _START),
        ("withdrawn", "mute"): ("suppressed", _STOP),
    }
)
"""(state, event) -> (state, what goes with it). What is not in the table is refused."""


class NotAllowed(ValueError):
    """The table has no such row."""


class ClosedLoop(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The six fields that a critical communication is documented with. method: "page", "api", "phone" and the like."""

    finding: str
    identified_at: Instant
    told_by: str
    received_by: str
    received_at: Instant
    method: str


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The step taken last."""

    role: str
    channel: str
    at: Instant


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert, as it stands. subject: the study's UID, "model" or "feed/labs".

    signs: what it rests on ("critical-lab:potassium") -> the minutes that this leaves. round: grows each time it is raised anew.
    raised_at: of this round. ladder_from: what the steps count from (quiet hours push it back). step: the last taken, -1 none.
    next_at: when something is to be done next; None: nothing. heard: who was told in this round, each role and channel once.
    what, finding: for messages, free of identifiers.
    """

    id: str
    subject: str
    trigger: Trigger
    category: Category
    state: State
    raised_at: Instant
    ladder_from: Instant
    identified_at: Instant
    changed_at: Instant
    what: str
    finding: str
    signs: dict[str, float] = {}
    study_uid: str | None = None
    patient: str | None = None
    radlex: str | None = None
    round: int = 1
    step: int = -1
    next_at: Instant | None = None
    told: Told | None = None
    heard: list[Told] = []
    muted: Muted | None = None
    acknowledged_by: str | None = None
    acknowledged_at: Instant | None = None
    record: ClosedLoop | None = None
    confirmed: bool | None = None
    context_version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether somebody must still react."""
        return self.state in OPEN


def alert_id(subject: str, trigger: Trigger) -> str:
    """One alert a subject and trigger, for ever: a reason that comes back is another round of it."""
    return event_id("alert", f"{subject}|{trigger}")


def allowed(state: State | None, event: Event) -> bool:
    """Whether the table has such a row."""
    return (state, event) in TABLE


def apply(alert: Alert, event: Event, now: datetime) -> Alert:
    """The alert after `event`; where that starts the ladder, `started` comes next. Raises NotAllowed."""
    try:
        state, effects = TABLE[alert.state, event]
    except KeyError:
        raise NotAllowed(f"an alert that is {alert.state} cannot {event}") from None
    after = replace(alert, state=state, changed_at=now)
    if "stop the ladder" in effects:
        after = replace(after, next_at=None)
    if "tell those told" in effects and alert.told is not None:
        after = replace(after, next_at=now)
    return after


def raised(alert: Alert, now: datetime, policy: EscalationPolicy) -> Alert:
    """Another round: of an alert that has come to rest, or of one that became more pressing. Raises NotAllowed."""
    after = apply(alert, "raise", now)
    return started(replace(after, round=alert.round + 1), now, policy)


def started(alert: Alert, now: datetime, policy: EscalationPolicy) -> Alert:
    """On the first rung: the first step is due now, or when the quiet hours end."""
    begin = policy.awake(now, alert.category)
    fresh = replace(
        alert,
        state="notified",
        raised_at=now,
        ladder_from=begin,
        changed_at=now,
        step=-1,
        told=None,
        heard=[],
        muted=None,
        acknowledged_by=None,
        acknowledged_at=None,
        record=None,
        confirmed=None,
    )
    return _waiting(fresh, policy)


# --- steps ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now. index None: the word that the reason has vanished. missed: steps whose time went by unsent."""

    alert: Alert
    step: Step
    index: int | None
    missed: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """The same each time this very step is sent: what a receiver knows a repeat by."""
        what = f"withdrawn|{self.step.role}|{self.step.channel}" if self.index is None else self.index
        return event_id("alert-step", f"{self.alert.id}|{self.alert.round}|{what}")


def due(alert: Alert, now: datetime, policy: EscalationPolicy) -> Due | None:
    """The latest step whose time has come; those before it that were not taken are missed, and told with it."""
    if alert.next_at is None or alert.next_at > now:
        return None
    if alert.state == "withdrawn" and alert.told is not None:
        last = alert.heard[-1] if alert.heard else alert.told
        return Due(alert, Step(0, last.role, last.channel), None)
    if not alert.is_open:
        return None
    ladder = policy.ladder(alert.trigger)
    reached = [index for index in range(alert.step + 1, len(ladder)) if _at(alert, ladder[index]) <= now]
    if not reached:
        return None
    return Due(alert, ladder[reached[-1]], reached[-1], tuple(ladder[index] for index in reached[:-1]))


def taken(done: Due, now: datetime, policy: EscalationPolicy) -> Alert:
    """The alert once the step was sent."""
    others = [one for one in done.alert.heard if (one.role, one.channel) != (done.step.role, done.step.channel)]
    if done.index is None:
        return replace(done.alert, heard=others, next_at=now if others else None, changed_at=now)
    moved = apply(done.alert, step_event(done.index), now)
    told = Told(role=done.step.role, channel=done.step.channel, at=now)
    return _waiting(replace(moved, step=done.index, told=told, heard=[*others, told]), policy)


def step_event(index: int) -> Event:
    """The first step notifies, the others escalate."""
    return "notify" if index == 0 else "escalate"


def at_rest(alert: Alert, now: datetime, policy: EscalationPolicy) -> Alert:
    """An alert that was due with nothing to be sent: its ladder has changed under it, or it is open no more."""
    waiting = _waiting(alert, policy) if alert.is_open else replace(alert, next_at=None)
    return waiting if waiting.next_at is None or waiting.next_at > now else replace(waiting, next_at=None)


def postponed(alert: Alert, until: datetime) -> Alert:
    """The same step, tried again later."""
    return replace(alert, next_at=until)


def asleep(alert: Alert, now: datetime, policy: EscalationPolicy) -> Alert | None:
    """What is due in quiet hours, as it comes late or takes a message back: put off to their end. None: it may be told now."""
    awake = policy.awake(now, alert.category)
    if awake <= now:
        return None
    ladder = policy.ladder(alert.trigger)
    if not alert.is_open or alert.step + 1 >= len(ladder):
        return postponed(alert, awake)
    return replace(alert, next_at=awake, ladder_from=awake - timedelta(minutes=ladder[alert.step + 1].after_minutes))


def rewound(alert: Alert, now: datetime) -> Alert:
    """After a clock that went back: what was to be done keeps its distance from the present."""
    back = alert.changed_at - now
    if back <= timedelta(0):
        return alert
    return replace(
        alert, changed_at=now, ladder_from=alert.ladder_from - back, next_at=None if alert.next_at is None else alert.next_at - back
    )


def _waiting(alert: Alert, policy: EscalationPolicy) -> Alert:
    """With the time of the next step; one that falls into quiet hours takes the rest of the ladder with it."""
    ladder = policy.ladder(alert.trigger)
    if alert.step + 1 >= len(ladder):
        return replace(alert, next_at=None)
    at = _at(alert, ladder[alert.step + 1])
    awake = policy.awake(at, alert.category)
    return replace(alert, next_at=awake, ladder_from=alert.ladder_from + (awake - at))


def _at(alert: Alert, step: Step) -> datetime:
    return alert.ladder_from + timedelta(minutes=step.after_minutes)


# --- what people do ------------------------------------------------------------------------------------------------------------------


def acknowledged(alert: Alert, reader: str, now: datetime, method: str, *, take_over: bool = False) -> Alert:
    """Somebody has it in hand: the record of who received what, when and how. Raises NotAllowed."""
    after = apply(alert, "take-over" if take_over else "acknowledge", now)
    record = ClosedLoop(
        finding=alert.finding,
        identified_at=alert.identified_at,
        told_by="Readfirst" if alert.told is None else f"Readfirst, to {alert.told.role} over {alert.told.channel}",
        received_by=reader,
        received_at=now,
        method=method,
    )
    return replace(after, acknowledged_by=reader, acknowledged_at=now, record=record)


def resolved(alert: Alert, record: ClosedLoop, now: datetime, confirmed: bool | None) -> Alert:
    """A person closes it with the whole record. confirmed: whether the finding was there. Raises NotAllowed."""
    return replace(apply(alert, "resolve", now), record=record, confirmed=confirmed)
