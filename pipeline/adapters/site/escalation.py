"""The section `escalation` of the site file: who is told of an alert, how and when, and what stays silent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline.adapters.site.section import Section
from pipeline.domain import escalation_policy as domain
from pipeline.domain.escalation_policy import Category, ChannelKind, EscalationPolicy, Trigger

Minutes = Annotated[float, Field(ge=0, le=40320, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Feed = Literal["imaging", "orders", "labs", "vitals", "adt", "reports"]

TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)


class Step(Section):
    """So many minutes after the alert was raised this role is told over this channel; `above` is the role above the one before.

    Fractions of a minute are for demonstrations.
    """

    after_minutes: Annotated[float, Field(le=40320, allow_inf_nan=False)]
    role: Name
    channel: Name


class Channel(Section):
    """page: the list alone. apprise: its URL (mail, chat, pager). webhook: signed with `secret`. hl7: mllp://host:port. fhir: base address.

    webhook, hl7 and fhir carry a key by which the receiver knows a repeat; apprise can only mark it.

    ${NAME} in url and secret is read from the environment of agent-escalation.
    """

    kind: ChannelKind
    url: Annotated[str, Field(max_length=2000)] = ""
    secret: Annotated[str, Field(max_length=500)] = ""
    timeout_s: Annotated[float, Field(allow_inf_nan=False)] = 5.0


class Rule(Section):
    """ACR category (1 minutes, never muted; 2 hours; 3 days), whether the trigger tells at all, and steps of its own."""

    category: Category
    enabled: bool = True
    steps: list[Step] | None = None


class QuietHours(Section):
    """Local time between which what is not category 1 waits; over midnight where `until` is before `start`."""

    start: Clock
    until: Clock


class Budget(Section):
    """How many alerts of categories 2 and 3 a shift bears; below which share of confirmed ones the model's go silent."""

    shift_starts: list[Clock]
    alerts_max: Annotated[int, Field(ge=0, le=10000)]
    ppv_min: Share
    ppv_after: Annotated[int, Field(ge=1)]


def _default(part: str) -> Callable[[], Any]:
    return lambda: getattr(of(domain.DEFAULT), part)


class Escalation(Section):
    """Alerts: who is told, how and when, and what stays silent. roles: each with the one above it (`above` in a step), null at the top.

    A part that is left out is the default's, and so is a trigger in `rules`; any other part is given whole.
    """

    roles: dict[Name, Name | None] = Field(default_factory=_default("roles"))
    channels: dict[Name, Channel] = Field(default_factory=_default("channels"))
    steps: list[Step] = Field(default_factory=_default("steps"))
    rules: dict[Trigger, Rule] = Field(default_factory=_default("rules"))
    quiet_hours: QuietHours | None = None
    budget: Budget = Field(default_factory=_default("budget"))
    news2_from: Annotated[float, Field(ge=1, le=20)] = domain.DEFAULT.news2_from
    finding_from: Share | None = domain.DEFAULT.finding_from
    risk_from: Share | None = domain.DEFAULT.risk_from
    discrepancy_from: Share | None = domain.DEFAULT.discrepancy_from
    worse_by: Share = domain.DEFAULT.worse_by
    remembered_minutes: Minutes = domain.DEFAULT.remembered / timedelta(minutes=1)
    late_minutes: Annotated[float, Field(gt=0, le=1440)] = domain.DEFAULT.late / timedelta(minutes=1)
    storm: Annotated[int, Field(ge=1)] = domain.DEFAULT.storm
    model_down_minutes: Minutes = domain.DEFAULT.model_down
    feed_down_minutes: dict[Feed, Minutes] = Field(default_factory=_default("feed_down_minutes"))

    @field_validator("rules")
    @classmethod
    def _for_each_trigger(cls, given: dict[Trigger, Rule]) -> dict[Trigger, Rule]:
        """So a file from before there was a trigger stays in force."""
        return {name: given.get(name) or _rule(domain.DEFAULT.rules[name]) for name in TRIGGERS}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := domain.faults(self.policy("UTC")):
            raise ValidationError.from_exception_data("escalation", [_at(where, why) for where, why in found])
        return self

    def policy(self, time_zone: str) -> EscalationPolicy:
        """What the escalation is told. time_zone: IANA name of the wall time in it."""
        quiet = self.quiet_hours
        return EscalationPolicy(
            steps=_steps(self.steps),
            channels={name: domain.Channel(**channel.model_dump()) for name, channel in self.channels.items()},
            roles=self.roles,
            rules={
                name: domain.Rule(rule.category, rule.enabled, None if rule.steps is None else _steps(rule.steps))
                for name, rule in self.rules.items()
            },
            quiet=None if quiet is None else domain.Quiet(time.fromisoformat(quiet.start), time.fromisoformat(quiet.until)),
            budget=domain.Budget(
                tuple(map(time.fromisoformat, self.budget.shift_starts)), self.budget.alerts_max, self.budget.ppv_min, self.budget.ppv_after
            ),
            time_zone=time_zone,
            news2_from=self.news2_from,
            finding_from=self.finding_from,
            risk_from=self.risk_from,
            discrepancy_from=self.discrepancy_from,
            worse_by=self.worse_by,
            remembered=timedelta(minutes=self.remembered_minutes),
            late=timedelta(minutes=self.late_minutes),
            storm=self.storm,
            model_down=self.model_down_minutes,
            feed_down={feed: limit for feed, limit in self.feed_down_minutes.items()},
        )


def of(policy: EscalationPolicy) -> Escalation:
    """The section that comes to this policy."""
    quiet = policy.quiet
    return Escalation(
        roles=dict(policy.roles),
        channels={
            name: Channel(kind=one.kind, url=one.url, secret=one.secret, timeout_s=one.timeout_s) for name, one in policy.channels.items()
        },
        steps=[_step(one) for one in policy.steps],
        rules={name: _rule(rule) for name, rule in policy.rules.items()},
        quiet_hours=None if quiet is None else QuietHours(start=f"{quiet.start:%H:%M}", until=f"{quiet.end:%H:%M}"),
        budget=Budget(
            shift_starts=[f"{start:%H:%M}" for start in policy.budget.shift_starts],
            alerts_max=policy.budget.alerts_max,
            ppv_min=policy.budget.ppv_min,
            ppv_after=policy.budget.ppv_after,
        ),
        news2_from=policy.news2_from,
        finding_from=policy.finding_from,
        risk_from=policy.risk_from,
        discrepancy_from=policy.discrepancy_from,
        worse_by=policy.worse_by,
        remembered_minutes=policy.remembered / timedelta(minutes=1),
        late_minutes=policy.late / timedelta(minutes=1),
        storm=policy.storm,
        model_down_minutes=policy.model_down,
        feed_down_minutes={feed: limit for feed, limit in policy.feed_down.items()},  # type: ignore[misc]
    )


def _steps(steps: list[Step]) -> tuple[domain.Step, ...]:
    return tuple(domain.Step(one.after_minutes, one.role, one.channel) for one in steps)


def _step(one: domain.Step) -> Step:
    return Step(after_minutes=one.after_minutes, role=one.role, channel=one.channel)


def _rule(one: domain.Rule) -> Rule:
    return Rule(category=one.category, enabled=one.on, steps=None if one.steps is None else [_step(step) for step in one.steps])


def _at(where: str, why: str) -> InitErrorDetails:
    """A fault with the place of what it is about, so that the reader of the file is told the line."""
    path = tuple(int(part) if part.isdigit() else part for part in where.split("."))
    return InitErrorDetails(type=PydanticCustomError("escalation", "{why}", {"why": why}), loc=path, input={})
