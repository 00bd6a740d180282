"""What a site may decide about escalation: who is told, how, after how many minutes, and what stays silent; with the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

Category = Literal[1, 2, 3]
"""ACR Actionable Reporting Work Group: 1 within minutes, 2 within hours, 3 within days to months."""

Trigger = Literal["critical", "finding", "model-risk", "deadline", "discrepancy", "model-down", "feed-down"]
ChannelKind = Literal["page", "apprise", "webhook", "hl7", "fhir"]


ABOVE = "above"
"""In place of a role: the one that stands above the role of the step before."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: so many minutes after the alert was raised this role, or the one ABOVE the last told, is told over this channel."""

    after_minutes: float
    role: str
    channel: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach somebody. page: the list itself, nothing is sent.

    url: apprise's URL, the webhook's or the FHIR server's address, or mllp://host:port; `${NAME}` in url and secret is read from the
    environment, so that no password stands in the site file. secret: the webhook's HMAC key.
    """

    kind: ChannelKind = "page"
    url: str = ""
    secret: str = ""
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Rule:
    """What one trigger does. Category 1 is never muted, neither by quiet hours nor by the budget. steps None: the site's own."""

    category: Category
    on: bool = True
    steps: tuple[Step, ...] | None = None


@dataclass(frozen=True, slots=True)
class Quiet:
    """From `start` to `end`, local wall time, over midnight where end is before start: what is not category 1 waits till the end."""

    start: time
    end: time


@dataclass(frozen=True, slots=True)
class Budget:
    """How many alerts of categories 2 and 3 a shift bears, and how often those of the model must have been right.

    ppv_min: share confirmed among the shift's judged model alerts below which the model's go silent, once `ppv_after` were judged.
    """

    shift_starts: tuple[time, ...] = (time(7), time(15), time(23))
    alerts_max: int = 30
    ppv_min: float = 0.2
    ppv_after: int = 10


# 15/30/60: IHE and the ACR give words ("minutes"), requirement documents of escalation products these tiers.
_STEPS = (
    Step(0, "radiologist", "page"),
    Step(15, "radiologist", "page"),
    Step(30, ABOVE, "page"),
    Step(60, ABOVE, "page"),
)
_OPERATIONS = (Step(0, "operator", "page"), Step(15, "operator", "page"), Step(60, ABOVE, "page"))

_RULES: Mapping[Trigger, Rule] = MappingProxyType(
    {
        "critical": Rule(1),
        "finding": Rule(2),
        "model-risk": Rule(2),
        "deadline": Rule(2),
        "discrepancy": Rule(3),
        "model-down": Rule(1, steps=_OPERATIONS),
        "feed-down": Rule(1, steps=_OPERATIONS),
    }
)
_ROLES: Mapping[str, str | None] = MappingProxyType(
    {"radiologist": "senior", "senior": "head", "head": None, "operator": "head"},
)
_FEEDS: Mapping[str, float] = MappingProxyType({"imaging": 120, "orders": 120, "labs": 60, "vitals": 60})


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    """One site's rules. roles: role -> the one above it, who is told where a step says so; no cycles.

    news2_from: total from which physiology is critical (RCP: 7 is an emergency). finding_from: an image model's probability of a finding,
    from which an unread study is told of; risk_from: the risk model's; discrepancy_from: an image model's, from which a report that denies
    the finding, or does not mention it, is asked about. None: never.
    worse_by: the share by which the minutes allowed must shrink for a standing abnormality to count as changed.
    remembered: how long an acknowledged abnormality of a patient is not told again. late: a step that is overdue by more was missed, by
    downtime or a clock that jumped; more than `storm` of them to the same people are told in one message.
    model_down, feed_down: minutes after which operations are told; feed_down by topic.
    """

    steps: tuple[Step, ...] = _STEPS
    channels: Mapping[str, Channel] = field(default_factory=lambda: MappingProxyType({"page": Channel()}))
    roles: Mapping[str, str | None] = field(default_factory=lambda: _ROLES)
    rules: Mapping[Trigger, Rule] = field(default_factory=lambda: _RULES)
    quiet: Quiet | None = None
    budget: Budget = Budget()
    time_zone: str = "UTC"
    news2_from: float = 7
    finding_from: float | None = 0.9
    risk_from: float | None = None
    discrepancy_from: float | None = 0.9
    worse_by: float = 0.25
    remembered: timedelta = timedelta(hours=24)
    late: timedelta = timedelta(minutes=5)
    storm: int = 5
    model_down: float = 5
    feed_down: Mapping[str, float] = field(default_factory=lambda: _FEEDS)

    def ladder(self, trigger: Trigger) -> tuple[Step, ...]:
        """The steps of an alert, in time order, each with the role that it tells."""
        own = self.rules[trigger].steps
        return _named(self.steps if own is None else own, self.roles)

    def awake(self, at: datetime, category: Category) -> datetime:
        """`at`, or the end of the quiet hours where it falls into them and may wait."""
        if self.quiet is None or category == 1:
            return at
        local = at.astimezone(ZoneInfo(self.time_zone))
        start, end = self.quiet.start, self.quiet.end
        now = local.time()
        inside = start <= now < end if start <= end else now >= start or now < end
        if not inside:
            return at
        day = local.date() + timedelta(days=1 if start > end and now >= start else 0)
        return datetime.combine(day, end, local.tzinfo).astimezone(UTC)

    def shift_start(self, at: datetime) -> datetime:
        """When the shift that `at` falls into began."""
        local = at.astimezone(ZoneInfo(self.time_zone))
        starts = [
            datetime.combine(local.date() - timedelta(days=back), start, local.tzinfo)
            for back in (0, 1)
            for start in self.budget.shift_starts
        ]
        return max(start for start in starts if start <= local).astimezone(UTC)


def faults(policy: EscalationPolicy) -> list[tuple[str, str]]:
    """What is wrong with a policy, as (where, why): unknown channels and roles, a cycle of roles, steps out of order."""
    found: list[tuple[str, str]] = []
    ladders = {
        "steps": policy.steps,
        **{f"rules.{name}.steps": rule.steps for name, rule in policy.rules.items() if rule.steps is not None},
    }
    for where, steps in ladders.items():
        if not steps:
            found.append((where, "has no step: nobody would be told"))
        for index, step in enumerate(steps):
            here = f"{where}.{index}"
            if step.channel not in policy.channels:
                found.append((f"{here}.channel", f"there is no channel {step.channel!r}"))
            found += [(f"{here}.role", why) for why in _role_faults(steps, index, policy.roles)]
            if step.after_minutes < 0:
                found.append((f"{here}.after_minutes", "is negative"))
            if index and step.after_minutes <= steps[index - 1].after_minutes:
                found.append((f"{here}.after_minutes", "is not after the step before"))
    for role, above in policy.roles.items():
        if role == ABOVE:
            found.append((f"roles.{role}", "is no role's name: in a step it stands for the role above the one before"))
        if above is not None and above not in policy.roles:
            found.append((f"roles.{role}", f"there is no role {above!r}"))
        if _in_cycle(role, policy.roles):
            found.append((f"roles.{role}", "leads back to itself"))
    for name, channel in policy.channels.items():
        found += _channel_faults(f"channels.{name}", channel)
    if not policy.budget.shift_starts:
        found.append(("budget.shift_starts", "names no shift"))
    return found


def _named(steps: tuple[Step, ...], roles: Mapping[str, str | None]) -> tuple[Step, ...]:
    """With a role instead of ABOVE; at the top the top again."""
    if all(step.role != ABOVE for step in steps):
        return steps
    named: list[Step] = []
    for step in steps:
        before = named[-1].role if named else ABOVE
        named.append(replace(step, role=roles.get(before) or before) if step.role == ABOVE else step)
    return tuple(named)


def _role_faults(steps: tuple[Step, ...], index: int, roles: Mapping[str, str | None]) -> list[str]:
    step = steps[index]
    if step.role != ABOVE:
        return [] if step.role in roles else [f"there is no role {step.role!r}"]
    if index == 0:
        return ["is above nobody: the first step names a role"]
    before = _named(steps[:index], roles)[-1].role
    return [f"nobody stands above {before!r}"] if before in roles and roles[before] is None else []


def _channel_faults(where: str, channel: Channel) -> list[tuple[str, str]]:
    found = []
    if channel.kind != "page" and not channel.url:
        found.append((f"{where}.url", "is missing"))
    if channel.kind == "webhook" and not channel.secret:
        found.append((f"{where}.secret", "is missing: a webhook is signed"))
    if channel.kind == "hl7" and not channel.url.startswith("mllp://"):
        found.append((f"{where}.url", "is not mllp://host:port"))
    if channel.timeout_s <= 0 or channel.timeout_s > 20:
        found.append((f"{where}.timeout_s", "is not between 0 and 20 seconds"))
    return found


def _in_cycle(role: str, roles: Mapping[str, str | None]) -> bool:
    seen = {role}
    above = roles.get(role)
    while above is not None and above not in seen:
        seen.add(above)
        above = roles.get(above)
    return above == role


DEFAULT = EscalationPolicy()
