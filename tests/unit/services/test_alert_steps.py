"""The agent's timer: one message a step, whatever dies; no storm after a downtime; and nothing in a message that names a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import time

import pytest

from pipeline.domain.escalation_policy import Quiet
from pipeline.errors import Unavailable
from pipeline.ports.escalation import Delivery
from schemas.topics import ALERTS
from tests.alert_builders import minutes, potassium, study
from tests.store_fixtures import START
from tests.unit.services.escalating import POLICY, Department, Killed


async def test_an_unread_critical_case_goes_up_the_ladder() -> None:
    """Four steps at their times, each to its role; then silence."""
    department = Department()
    await department.see(study("1.2", potassium()))
    for _ in range(9):
        await department.run()
        await department.run(10)

    assert department.told() == [
        ("radiologist", "CRITICAL, unread, under 1 min: CT HEAD: K 6.8 mmol/L, critical above 6.1"),
        ("radiologist", "CRITICAL, unread, 20 min: CT HEAD: K 6.8 mmol/L, critical above 6.1"),
        ("senior", "CRITICAL, unread, 30 min: CT HEAD: K 6.8 mmol/L, critical above 6.1"),
        ("head", "CRITICAL, unread, 1 h: CT HEAD: K 6.8 mmol/L, critical above 6.1"),
    ]
    assert len(department.outside.times()) == 4


async def test_a_message_tells_what_since_when_where_and_what_to_do() -> None:
    """And no identifier: neither patient, nor study, nor place."""
    department = Department(replace(POLICY, time_zone="Europe/Berlin"))
    await department.see(study("1.2.840.77", potassium(), patient="pseudonym-of-p", location="ICU^7"))
    await department.run(15)

    (notice,) = department.outside.arrived
    assert notice.text.splitlines() == [
        "What: CT HEAD: K 6.8 mmol/L at 09:00, critical above 6.1",
        "Since: 09:00 CET (15 min ago); nobody has acknowledged it.",
        f"Do: open https://list/alert/{department.alert('1.2.840.77').id} and read the study, or acknowledge that you will.",
        "Else: senior is told in 15 min.",
        "Not sent in time: radiologist at 09:00 CET.",
    ]
    assert not any(hidden in f"{notice}" for hidden in ("1.2.840.77", "pseudonym-of-p", "ICU"))


async def test_acknowledging_on_the_list_stops_the_ladder() -> None:
    """One fact: the item's acknowledgement is the alert's."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.run()
    await department.worklist.acknowledge("1.2", "Ada", department.clock.now())
    await department.run(70)

    assert len(department.outside.arrived) == 1
    assert (department.alert().state, department.alert().acknowledged_by) == ("acknowledged", "Ada")


async def test_a_worker_that_dies_after_sending_repeats_at_most_once_and_says_so() -> None:
    """The mark was there before the message went out."""
    department = Department()
    await department.see(study("1.2", potassium()))
    department.outside.kill_after = 0
    with pytest.raises(Killed):
        await department.run()
    department.outside.kill_after = None
    department.start_agent()
    await department.run()
    await department.run()

    first, second = department.outside.arrived
    assert first.key == second.key and (first.repeat, second.repeat) == (False, True)
    assert "may have been sent before" in second.text


async def test_a_worker_that_dies_with_many_messages_on_their_way_repeats_only_the_unanswered() -> None:
    """What was answered is known at once, not when the batch ends: a worker that dies again and again gets on, and is no storm."""
    department = Department()
    await department.see(*(study(f"1.{n}", potassium(), patient=f"p{n}") for n in range(12)))
    department.outside.kill_after = 6
    with pytest.raises(Killed):
        await department.run()
    before = {notice.key for notice in department.outside.arrived}
    department.outside.kill_after = None
    department.start_agent()
    await department.run()

    repeated = [notice for notice in department.outside.arrived if notice.repeat]
    assert len(before) > 6 and len(repeated) <= 1 + len(before) - 6
    assert len({notice.key for notice in department.outside.arrived}) == 12
    assert all(alert.step == 0 for alert in department.alerts.alerts.values())


async def test_a_digest_that_was_answered_is_not_sent_again() -> None:
    """The worker died after the receiver's answer, before its alerts were written."""
    department = Department()
    await department.see(*(study(f"1.{n}", potassium(), patient=f"p{n}") for n in range(20)))
    department.clock.advance(minutes(50))
    store, note = department.alerts, department.steps._note

    async def dies(*_: object) -> None:
        if department.outside.arrived:
            raise Killed
        await note(*_)  # type: ignore[arg-type]

    department.steps._note = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        await department.run()
    department.start_agent()
    await department.run()

    assert [notice.kind for notice in department.outside.arrived] == ["digest"]
    assert all(alert.step == 2 for alert in store.alerts.values())


async def test_a_channel_that_refuses_is_tried_again_without_being_a_repeat() -> None:
    """The history says once that it was not taken; the next step's time is kept all the same."""
    department = Department()
    department.outside.outcomes["webhook"] = Delivery("refused", "HTTP 500")
    await department.see(study("1.2", potassium()))
    await department.run()
    for _ in range(4):
        await department.run(1)
    assert department.outside.arrived == []
    assert [entry.step for entry in department.alerts.entries] == ["raised", "undelivered"]
    await department.run(11)
    assert department.told()[0][0] == "radiologist" and "15 min" in department.told()[0][1]
    department.outside.outcomes.clear()
    await department.run(15)
    assert [notice.repeat for notice in department.outside.arrived] == [False, False]


async def test_an_answer_that_was_lost_makes_a_marked_repeat() -> None:
    """It may have arrived, so the next one says so."""
    department = Department()
    department.outside.outcomes["webhook"] = Delivery("unknown", "no answer")
    await department.see(study("1.2", potassium()))
    await department.run()
    department.outside.outcomes.clear()
    await department.run(1)

    assert [notice.repeat for notice in department.outside.arrived] == [False, True]


async def test_after_a_downtime_one_message_tells_what_was_missed() -> None:
    """Twenty alerts, two hours: one message a role and channel, no storm; later steps go out one by one again."""
    department = Department()
    await department.see(*(study(f"1.{n}", potassium(), patient=f"p{n}") for n in range(20)))
    await department.run(50)
    (digest,) = department.outside.arrived
    assert (digest.kind, digest.subject) == ("digest", "20 alerts could not be sent in time, 20 of them critical")
    assert "https://list/" in digest.text and digest.role == "senior"
    await department.run(10)
    assert len(department.outside.arrived) == 21
    assert {notice.kind for notice in department.outside.arrived[1:]} == {"escalated"}


async def test_late_withdrawals_are_no_alarm() -> None:
    """Ten reasons that vanish while messages stand still: one message that there is nothing to do, beside one of what is still open."""
    department = Department()
    gone, open_ = [f"1.{n}" for n in range(10)], [f"2.{n}" for n in range(10)]
    await department.see(*(study(uid, potassium(), patient=uid) for uid in gone + open_))
    await department.run()
    department.outside.arrived.clear()
    await department.see(*(study(uid, version=2, patient=uid) for uid in gone))
    await department.run(40)

    said = {notice.subject: (notice.role, notice.text) for notice in department.outside.arrived}
    assert {notice.kind for notice in department.outside.arrived} == {"withdrawn", "digest"}
    assert said.keys() == {"10 alerts are withdrawn", "10 alerts could not be sent in time, 10 of them critical"}
    role, text = said["10 alerts are withdrawn"]
    assert role == "radiologist" and "nothing to do any more" in text and "acknowledge" not in text


async def test_a_few_late_ones_are_told_one_by_one() -> None:
    """Each with the latest step only, and with what was missed."""
    department = Department()
    await department.see(*(study(f"1.{n}", potassium(), patient=f"p{n}") for n in range(3)))
    await department.run(50)

    assert [notice.role for notice in department.outside.arrived] == ["senior"] * 3
    assert all("Not sent in time: radiologist at" in notice.text for notice in department.outside.arrived)


async def test_a_clock_that_jumps_forward_makes_no_storm_and_back_loses_nothing() -> None:
    """Forward: as after a downtime. Back: each step keeps its distance."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.run()
    department.clock.set(START - minutes(600))
    await department.escalation.sweep()
    await department.run(14)
    assert len(department.outside.arrived) == 1
    await department.run(1)
    assert len(department.outside.arrived) == 2


async def test_those_who_were_told_hear_of_a_withdrawal_once() -> None:
    """A corrected laboratory value."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.run(1)
    await department.see(study("1.2", version=2))
    await department.run(1)
    await department.run(60)

    assert [notice.kind for notice in department.outside.arrived] == ["notified", "withdrawn"]
    assert department.outside.arrived[1].text.startswith("Nothing to do any more: K 6.8 mmol/L at 08:00")


async def test_everybody_who_was_told_hears_of_a_withdrawal() -> None:
    """The whole ladder, each over each channel once, also when the agent dies in between; and a second round owes nobody of the first."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.run()
    for after in (15, 15, 30):
        await department.run(after)
    ways = [(step.role, step.channel) for step in POLICY.steps]
    await department.see(study("1.2", version=2))
    department.outside.kill_after = 1
    with pytest.raises(Killed):
        await department.run(1)
    department.outside.kill_after = None
    department.start_agent()
    await department.run(1)

    withdrawn = [notice for notice in department.outside.arrived if notice.kind == "withdrawn"]
    assert sorted(notice.role for notice in withdrawn if not notice.repeat) == sorted(role for role, _ in ways)
    assert len({notice.key for notice in withdrawn}) == len(ways)

    await department.see(study("1.2", potassium(9, 15), version=3))
    await department.run(1)
    await department.see(study("1.2", version=4))
    await department.run(1)
    assert [(notice.kind, notice.role) for notice in department.outside.arrived[-2:]] == [
        ("notified", "radiologist"),
        ("withdrawn", "radiologist"),
    ]


async def test_quiet_hours_hold_for_what_comes_late_too() -> None:
    """A channel that is mended, or a reason that vanishes, in quiet hours wakes nobody; then the ladder goes on from its next step."""
    department = Department(replace(POLICY, quiet=Quiet(time(9), time(17))))
    department.outside.outcomes["webhook"] = Delivery("refused", "no connection")
    await department.see(study("1.2", due=-1), study("1.3", potassium(), patient="p2"))
    await department.run()
    await department.run(59)
    department.outside.outcomes.clear()
    await department.run(61)
    assert {notice.category for notice in department.outside.arrived} == {1}
    department.outside.arrived.clear()

    await department.run(7 * 60)
    assert [(notice.category, notice.kind, notice.role) for notice in department.outside.arrived] == [(2, "notified", "radiologist")]
    await department.run(14)
    assert len(department.outside.arrived) == 1
    await department.run(1)
    assert [notice.kind for notice in department.outside.arrived] == ["notified", "escalated"]


async def test_a_withdrawal_waits_for_the_end_of_the_quiet_hours() -> None:
    """Whom an alert that can wait did not wake, its end does not wake either."""
    department = Department(replace(POLICY, quiet=Quiet(time(9), time(17))))
    await department.see(study("1.2", due=-1))
    await department.run()
    await department.run(90)
    await department.see(study("1.2", due=600, version=2))
    await department.run(60)
    assert "withdrawn" not in {notice.kind for notice in department.outside.arrived}
    await department.run(7 * 60)
    assert department.outside.arrived[-1].kind == "withdrawn"


async def test_every_step_reaches_the_topic_once() -> None:
    """Through an outbox: Kafka's absence loses nothing, and the keys are the messages' own."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.run()
    department.log.fail_next()
    with pytest.raises(Unavailable):
        await department.steps.publish()
    await department.desk.acknowledge(department.alert().id, "Ada", "api")
    await department.see(study("1.2", potassium(), state="closed", closed="reported", version=2))
    await department.steps.publish()
    await department.steps.publish()

    told = department.log.documents(ALERTS)
    assert [step.step for step in told] == ["raised", "notified", "acknowledged", "resolved"]
    assert told[1].idempotency_key == department.outside.arrived[0].key
    assert (told[2].by, {step.study_uid for step in told}) == ("Ada", {"1.2"})


async def test_a_missing_channel_is_said_and_stops_nothing() -> None:
    """The site file has lost it since the alert was raised."""
    department = Department()
    await department.see(study("1.2", potassium()))
    department.policy = replace(POLICY, channels={name: channel for name, channel in POLICY.channels.items() if name != "hook"})
    await department.run()
    assert department.alerts.entries[-1].reason == "hook did not take it: the site has no channel 'hook'"
    await department.run(15)
    assert [notice.role for notice in department.outside.arrived] == ["radiologist"]
