"""The life of an alert: the table, the steps and the clock."""

from __future__ import annotations

from dataclasses import replace as with_
from datetime import time, timedelta
from itertools import product
from typing import get_args

import pytest
from msgspec.structs import replace

from pipeline.domain import escalation, escalation_policy
from pipeline.domain.escalation import Alert, Due, Event, NotAllowed, State
from pipeline.domain.escalation_policy import ABOVE, DEFAULT, Channel, EscalationPolicy, Quiet, Rule, Step
from tests.alert_builders import minutes
from tests.store_fixtures import START


def alert(**changes: object) -> Alert:
    """Raised at START."""
    blank = Alert(
        id="a", subject="1.2", study_uid="1.2", patient="p", trigger="critical", category=1, state="notified",
        raised_at=START, ladder_from=START, identified_at=START, changed_at=START, what="CT HEAD", finding="K 6.8",
    )  # fmt: skip
    return replace(escalation.started(blank, START, DEFAULT), **changes)


def step(standing: Alert, after: float, policy: EscalationPolicy = DEFAULT) -> tuple[Due | None, Alert]:
    """What is due so many minutes after START, and the alert once it is done."""
    now = START + minutes(after)
    due = escalation.due(standing, now, policy)
    return due, standing if due is None else escalation.taken(due, now, policy)


def test_what_is_not_in_the_table_is_refused() -> None:
    """Every pair of state and event either has a row or raises; no event leaves a closed alert but a new round."""
    for state, event in product(get_args(State), get_args(Event)):
        if escalation.allowed(state, event):
            assert escalation.apply(alert(state=state), event, START).state == escalation.TABLE[state, event][0]
        else:
            with pytest.raises(NotAllowed):
                escalation.apply(alert(state=state), event, START)
    assert {event for state, event in escalation.TABLE if state in ("resolved", "withdrawn")} == {"raise", "mute"}


def test_every_state_can_be_reached_and_every_standing_one_closed() -> None:
    """No dead ends: a read study closes whatever stands."""
    assert {after for after, _ in escalation.TABLE.values()} == set(get_args(State))
    assert {state for state, event in escalation.TABLE if event == "read"} == set(escalation.STANDING)
    assert {state for state, event in escalation.TABLE if event == "withdraw"} == set(escalation.STANDING)


def test_the_ladder_is_climbed_rung_by_rung() -> None:
    """Told at once, then at 15, 30 and 60 minutes, each to its role; then nothing more."""
    standing, told = alert(), []
    for after in range(0, 90, 5):
        due, standing = step(standing, after)
        if due is not None:
            told.append((after, due.step.role, standing.state))
    assert told == [
        (0, "radiologist", "notified"),
        (15, "radiologist", "escalated"),
        (30, "senior", "escalated"),
        (60, "head", "escalated"),
    ]
    assert standing.next_at is None


def test_each_step_has_one_key() -> None:
    """The same for the same step, another for another step or round."""
    keys = [escalation.due(alert(step=done, next_at=START), START + minutes(60), DEFAULT) for done in (-1, 0, 1, 2)]
    assert len({due.key for due in keys if due}) == 1  # the latest due step is the same one
    first = escalation.due(alert(), START, DEFAULT)
    again = escalation.due(alert(round=2), START, DEFAULT)
    assert first and again and first.key != again.key == escalation.due(alert(round=2), START, DEFAULT).key  # type: ignore[union-attr]


def test_after_a_downtime_only_the_latest_step_is_due() -> None:
    """What was missed is told with it, not one after the other."""
    due, after = step(alert(), 45)
    assert due is not None
    assert (due.index, [missed.after_minutes for missed in due.missed]) == (2, [0, 15])
    assert (after.step, after.next_at) == (2, START + minutes(60))


def test_an_acknowledged_alert_waits_for_the_reading() -> None:
    """No further step; the record has its six fields."""
    _, told = step(alert(), 0)
    seen = escalation.acknowledged(told, "Ada", START + minutes(4), "page")
    assert step(seen, 60)[0] is None
    assert seen.record == escalation.ClosedLoop(
        finding="K 6.8", identified_at=START, told_by="Readfirst, to radiologist over page", received_by="Ada",
        received_at=START + minutes(4), method="page",
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        escalation.acknowledged(seen, "Ben", START + minutes(5), "page")
    assert escalation.acknowledged(seen, "Ben", START + minutes(5), "page", take_over=True).acknowledged_by == "Ben"


def test_those_who_were_told_hear_that_the_reason_has_vanished() -> None:
    """Over the channel of the last step, once; where nobody was told, nobody hears."""
    _, told = step(alert(), 0)
    withdrawn = escalation.apply(told, "withdraw", START + minutes(5))
    due, after = step(withdrawn, 5)
    assert due is not None and (due.index, due.step.role, after.next_at) == (None, "radiologist", None)
    assert escalation.apply(alert(), "withdraw", START).next_at is None


def test_a_new_round_starts_the_ladder_again() -> None:
    """With nothing left of the last one but its number."""
    old = escalation.acknowledged(alert(step=2), "Ada", START, "page")
    raised = escalation.raised(old, START + minutes(100), DEFAULT)
    assert (raised.round, raised.step, raised.acknowledged_by, raised.record) == (2, -1, None, None)
    assert raised.next_at == START + minutes(100)


def test_a_clock_that_goes_back_keeps_the_distances() -> None:
    """An hour back: the next step is as far off as it was."""
    _, told = step(alert(), 0)
    before = START - timedelta(hours=1)
    moved = escalation.rewound(told, before)
    assert moved.next_at == before + minutes(15)
    assert escalation.due(moved, before + minutes(15), DEFAULT) == Due(moved, DEFAULT.steps[1], 1)
    assert escalation.rewound(told, START + minutes(1)) is told


NIGHT = with_(DEFAULT, quiet=Quiet(time(22), time(7)), time_zone="Europe/Berlin")


@pytest.mark.parametrize(("utc_hour", "wakes"), [(20, 20), (21, 30), (0, 6), (5, 6), (6, 6), (12, 12)])
def test_quiet_hours_are_local_and_pass_midnight(utc_hour: int, wakes: int) -> None:
    """22 to 7 in Berlin is 21 to 6 UTC in March; category 1 never waits."""
    at = START.replace(hour=utc_hour)
    assert NIGHT.awake(at, 2) == START.replace(hour=0) + timedelta(hours=wakes)
    assert NIGHT.awake(at, 1) == at


def test_what_waits_for_the_morning_climbs_from_the_first_rung() -> None:
    """Quiet hours push the whole ladder back, so that the head of department is not the first to hear."""
    night = START.replace(hour=22)
    raised = escalation.started(alert(category=2), night, NIGHT)
    morning = START.replace(hour=6) + timedelta(days=1)
    assert raised.next_at == morning
    due = escalation.due(raised, morning, NIGHT)
    assert due is not None and (due.index, due.missed) == (0, ())
    late = escalation.started(alert(category=2), START.replace(hour=20, minute=50), NIGHT)
    first = escalation.due(late, late.raised_at, NIGHT)
    assert first is not None
    assert escalation.taken(first, late.raised_at, NIGHT).next_at == morning


def test_a_shortened_ladder_puts_to_rest() -> None:
    """A site file with fewer steps: nothing is due, and nothing spins."""
    short = with_(DEFAULT, steps=DEFAULT.steps[:1])
    standing = alert(step=1, next_at=START + minutes(30))
    assert escalation.due(standing, START + minutes(30), short) is None
    assert escalation.at_rest(standing, START + minutes(30), short).next_at is None


def test_who_stands_above_is_told_next() -> None:
    """As the site's roles say it: from the step's own role up, one rung a step; named roles stay as they are."""
    assert [step.role for step in DEFAULT.ladder("critical")] == ["radiologist", "radiologist", "senior", "head"]
    assert [step.role for step in DEFAULT.ladder("feed-down")] == ["operator", "operator", "head"]
    night = with_(DEFAULT, roles={**DEFAULT.roles, "radiologist": "on-call", "on-call": "head"})
    assert [step.role for step in night.ladder("critical")] == ["radiologist", "radiologist", "on-call", "head"]
    named = with_(DEFAULT, steps=(Step(0, "radiologist", "page"), Step(5, "operator", "page"), Step(9, ABOVE, "page")))
    assert [step.role for step in named.ladder("critical")] == ["radiologist", "operator", "head"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"roles": {"radiologist": "senior", "senior": "radiologist", "head": None, "operator": None}}, "roles.radiologist"),
        ({"roles": {"radiologist": "boss", "senior": None, "head": None, "operator": None}}, "roles.radiologist"),
        ({"steps": ()}, "steps"),
        ({"steps": (Step(0, "head", "pager"),)}, "steps.0.channel"),
        ({"steps": (Step(0, "boss", "page"),)}, "steps.0.role"),
        ({"steps": (Step(0, ABOVE, "page"),)}, "steps.0.role"),
        ({"steps": (Step(0, "head", "page"), Step(5, ABOVE, "page"))}, "steps.1.role"),
        ({"roles": {**DEFAULT.roles, ABOVE: None}}, "roles.above"),
        ({"steps": (Step(-1, "head", "page"),)}, "steps.0.after_minutes"),
        ({"steps": (Step(5, "head", "page"), Step(5, "head", "page"))}, "steps.1.after_minutes"),
        ({"rules": {**DEFAULT.rules, "deadline": Rule(2, steps=())}}, "rules.deadline.steps"),
        ({"channels": {"page": Channel(), "hook": Channel("webhook", "http://x")}}, "channels.hook.secret"),
        ({"channels": {"page": Channel(), "ris": Channel("hl7", "http://x")}}, "channels.ris.url"),
        ({"channels": {"page": Channel(timeout_s=0)}}, "channels.page.timeout_s"),
    ],
)
def test_a_policy_that_would_not_reach_anybody_is_refused(changes: dict[str, object], where: str) -> None:
    """Each fault with its place."""
    assert where in [path for path, _ in escalation_policy.faults(with_(DEFAULT, **changes))]
    assert escalation_policy.faults(DEFAULT) == []
