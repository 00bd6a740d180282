"""An alert in words: the message to the person who is woken, and the line in the history. No identifiers: a link instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.domain.escalation import Alert, Due, Event
from pipeline.domain.escalation_policy import EscalationPolicy, Step
from schemas import alerts
from schemas.identifiers import event_id

CATEGORY_WORDS = {1: "CRITICAL", 2: "URGENT", 3: "To do"}
STEP_WORDS: dict[Event, alerts.Step] = {
    "raise": "raised",
    "mute": "suppressed",
    "change": "changed",
    "notify": "notified",
    "escalate": "escalated",
    "acknowledge": "acknowledged",
    "take-over": "taken-over",
    "read": "resolved",
    "resolve": "resolved",
    "withdraw": "withdrawn",
}
_UTC_TIME = re.compile(r"(\d{4}-\d\d-\d\d )?([01]\d|2[0-3]):([0-5]\d)Z")


def subject(due: Due, now: datetime) -> str:
    """One line that fits a pager: how urgent, since when, what."""
    alert = due.alert
    if due.index is None:
        return f"Withdrawn: {_about(alert)}"
    waited = minutes(now - alert.raised_at)
    standing = "" if alert.study_uid is None or alert.trigger == "discrepancy" else "unread, "
    return f"{CATEGORY_WORDS[alert.category]}, {standing}{waited}: {_about(alert)}"


def text(due: Due, now: datetime, link: str, policy: EscalationPolicy, *, repeat: bool) -> str:
    """What, since when, where, and what to do."""
    alert = due.alert
    if due.index is None:
        lines = [f"Nothing to do any more: {_finding(alert, policy)}: the reason has vanished.", f"See {link}"]
    else:
        since = f"{clock(alert.raised_at, policy)} ({minutes(now - alert.raised_at)} ago)"
        lines = [
            f"What: {_about(alert, policy)}",
            f"Since: {since}; nobody has acknowledged it.",
            f"Do: open {link} and {_task(alert)}.",
            *_next(due, policy),
            *_missed(due.missed, policy, alert),
        ]
    if repeat:
        lines.append("This message may have been sent before; it is the same one.")
    return "\n".join(lines)


def digest_subject(dues: Sequence[Due]) -> str:
    """One line for many alerts that could not be told in time: steps, or withdrawals."""
    if dues[0].index is None:
        return f"{len(dues)} alerts are withdrawn"
    critical = sum(due.alert.category == 1 for due in dues)
    return f"{len(dues)} alerts could not be sent in time, {critical} of them critical"


def digest_text(dues: Sequence[Due], now: datetime, link: str, policy: EscalationPolicy, *, repeat: bool) -> str:
    """What was missed, in one message."""
    oldest = min(due.alert.raised_at for due in dues)
    withdrawn = [f"{digest_subject(dues)}: their reasons have vanished, and there is nothing to do any more.", f"See {link}"]
    waiting = [
        f"{digest_subject(dues)}: sending stood still, or the clock jumped.",
        f"Waiting since {clock(oldest, policy)} ({minutes(now - oldest)}); nobody has acknowledged them.",
        f"Do: open {link} and read or acknowledge them from the top. The steps that follow are sent one by one.",
    ]
    lines = withdrawn if dues[0].index is None else waiting
    return "\n".join([*lines, *(["This message may have been sent before; it is the same one."] if repeat else [])])


def entry(
    alert: Alert,
    step: alerts.Step,
    reason: str,
    now: datetime,
    *,
    by: str | None = None,
    to: Step | None = None,
    key: str | None = None,
    repeat: bool = False,
) -> alerts.Alert:
    """A line of the history, which is the record of the topic alerts."""
    own = event_id("alert-entry", f"{alert.id}|{alert.round}|{step}|{now.isoformat()}|{key or ''}")
    return alerts.Alert(
        event_id=own,
        idempotency_key=key or own,
        study_uid=alert.subject,
        patient=alert.patient or "",
        step=step,
        reason=reason,
        at=now,
        recorded_at=now,
        alert_id=alert.id,
        trigger=alert.trigger,
        category=alert.category,
        radlex=alert.radlex,
        round=alert.round,
        role=to.role if to else None,
        channel=to.channel if to else None,
        by=by,
        repeat=repeat,
    )


def minutes(span: timedelta) -> str:
    """ "under 1 min", "15 min", "2 h 5 min"."""
    whole = max(int(span.total_seconds() // 60), 0)
    if whole < 1:
        return "under 1 min"
    hours, rest = divmod(whole, 60)
    return f"{whole} min" if not hours else f"{hours} h {rest} min" if rest else f"{hours} h"


def clock(at: datetime, policy: EscalationPolicy) -> str:
    """Wall time with its zone: "03:12 CET"."""
    return f"{at.astimezone(ZoneInfo(policy.time_zone)):%H:%M %Z}"


def _about(alert: Alert, policy: EscalationPolicy | None = None) -> str:
    return f"{alert.what}: {_finding(alert, policy)}" if alert.what else _finding(alert, policy)


def _finding(alert: Alert, policy: EscalationPolicy | None) -> str:
    """With the site's wall times in place of UTC's; without a policy the times are left out of the line."""
    if policy is None:
        return re.sub(rf" (?:at|by) {_UTC_TIME.pattern}", "", alert.finding)
    zone = ZoneInfo(policy.time_zone)

    def local(match: re.Match[str]) -> str:
        date = match.group(1)
        day = datetime.fromisoformat(date.strip()).date() if date else alert.identified_at.date()
        at = datetime(day.year, day.month, day.day, int(match.group(2)), int(match.group(3)), tzinfo=UTC).astimezone(zone)
        return f"{at:%Y-%m-%d %H:%M}" if date else f"{at:%H:%M}"

    return _UTC_TIME.sub(local, alert.finding)


def _task(alert: Alert) -> str:
    if alert.study_uid is None:
        return "mend it or acknowledge"
    return "look at the images again" if alert.trigger == "discrepancy" else "read the study, or acknowledge that you will"


def _next(due: Due, policy: EscalationPolicy) -> list[str]:
    ladder = policy.ladder(due.alert.trigger)
    if due.index is None or due.index + 1 >= len(ladder):
        return ["This is the last step."]
    following = ladder[due.index + 1]
    wait = timedelta(minutes=following.after_minutes - due.step.after_minutes)
    return [f"Else: {following.role} is told in {minutes(wait)}."]


def _missed(missed: Sequence[Step], policy: EscalationPolicy, alert: Alert) -> list[str]:
    if not missed:
        return []
    steps = ", ".join(f"{step.role} at {clock(alert.ladder_from + timedelta(minutes=step.after_minutes), policy)}" for step in missed)
    return [f"Not sent in time: {steps}."]
