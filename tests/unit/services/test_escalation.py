"""Alerts as the list moves: what the topic brings, what it does not, and what people do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.domain import escalation
from pipeline.errors import Conflict, NotFound
from pipeline.ports import Batch, Record
from pipeline.services.alert_desk import Resolution
from pipeline.services.context import ContextStage
from pipeline.services.escalation import Escalation
from pipeline.services.escalation_stage import EscalationStage
from pipeline.services.ranking import RankingStage
from schemas import codec
from schemas.events import ImagingEvent, Observation, ObservationEvent, OrderEvent
from schemas.time import Timestamp
from schemas.topics import ASSESSMENTS, DLQ, IMAGING, LABS, ORDERS, VITALS, WORKLIST
from tests.alert_builders import minutes, news2, potassium, study
from tests.store_fixtures import START, event_id, fact
from tests.unit.services.escalating import POLICY, Department


async def test_late_and_repeated_records_change_nothing() -> None:
    """Alerts carry the context version and never go back."""
    department = Department()
    await department.see(study("1.2", potassium(), version=5))
    await department.see(study("1.2", potassium(), version=5))
    await department.escalation.observe([study("1.2", version=4)])

    assert [entry.step for entry in department.alerts.entries] == ["raised"]


async def test_what_the_topic_lost_is_found_by_the_sweep() -> None:
    """A record that never came: raised, withdrawn and resolved all the same."""
    department = Department()
    department.put(study("1", potassium(), patient="p1"))
    department.put(study("2", potassium(), patient="p2"))
    await department.escalation.sweep()
    assert {department.alert(uid).state for uid in "12"} == {"notified"}
    department.put(study("1", version=2, patient="p1"))
    department.put(study("2", potassium(), version=2, patient="p2", state="closed", closed="reported"))
    await department.escalation.sweep()
    assert [department.alert(uid).state for uid in "12"] == ["withdrawn", "resolved"]


async def test_a_rule_that_has_changed_judges_who_waits() -> None:
    """Though nothing of the study has moved: another NEWS2 from which physiology is critical, and back."""
    department = Department()
    await department.see(study("1.2", news2(6)))
    await department.escalation.sweep()
    assert department.alerts.alerts == {}
    department.policy = replace(POLICY, news2_from=5)
    await department.escalation.sweep()
    assert department.alert().state == "notified"
    department.policy = POLICY
    await department.escalation.sweep()
    assert department.alert().state == "withdrawn"


async def test_an_alert_for_a_closed_study_is_not_raised_but_counted() -> None:
    """A critical value that comes when the study has been reported, or its order cancelled; late in itself is no cause."""
    department = Department()
    for how in ("reported", "cancelled"):
        await department.see(study(how, potassium(), patient=how, state="closed", closed=how))
    await department.see(study("in time", potassium(), patient="p"), study("quiet", due=-5, patient="q", state="closed", closed="reported"))
    await department.see(study("in time", potassium(), version=2, patient="p", state="closed", closed="reported"))
    await department.escalation.sweep()
    await department.run(60)

    assert {alert.subject: alert.state for alert in department.alerts.alerts.values()} == {"in time": "resolved"}
    assert (department.escalation.raised, department.escalation.too_late) == (1, 2)
    assert department.outside.arrived == []


async def test_a_deadline_that_passes_is_noticed_without_a_record() -> None:
    """Time alone; once."""
    department = Department()
    await department.see(study("1.2", due=30))
    department.clock.advance(minutes(30))
    await department.escalation.sweep()
    await department.escalation.sweep()

    assert [entry.trigger for entry in department.alerts.entries] == ["deadline"]


async def test_operations_hear_of_a_model_that_stays_down() -> None:
    """After five minutes, not at once; withdrawn when it is back; another time is another round."""
    department = Department()
    department.put(study("1.2", degraded=True))
    await department.escalation.sweep()
    assert not department.alerts.alerts
    department.clock.advance(minutes(5))
    await department.escalation.sweep()
    down = department.alert("model", "model-down")
    assert (down.state, down.study_uid, department.policy.ladder("model-down")[0].role) == ("notified", None, "operator")
    department.put(study("1.2", version=2))
    await department.escalation.sweep()
    assert department.alert("model", "model-down").state == "withdrawn"
    department.put(study("1.2", degraded=True, version=3))
    for _ in range(2):
        await department.escalation.sweep()
        department.clock.advance(minutes(6))
    await department.escalation.sweep()
    assert department.alert("model", "model-down").round == 2


async def test_an_agent_that_starts_while_the_model_is_down_does_not_say_that_it_is_back() -> None:
    """How long it has been down is not remembered; that operations were told is."""
    department = Department()
    department.put(study("1.2", degraded=True))
    await department.escalation.sweep()
    department.clock.advance(minutes(5))
    await department.escalation.sweep()
    department.start_agent()
    for _ in range(2):
        await department.escalation.sweep()
        alert = department.alert("model", "model-down")
        assert (alert.state, alert.round) == ("notified", 1)
        department.clock.advance(minutes(6))
    department.put(study("1.2", version=2))
    await department.escalation.sweep()
    assert department.alert("model", "model-down").state == "withdrawn"


@pytest.mark.parametrize(
    "changed",
    [{"feed_down": {"labs": 60}}, {"rules": {**POLICY.rules, "feed-down": replace(POLICY.rules["feed-down"], on=False)}}],
    ids=["the feed is watched no longer", "the rule is off"],
)
async def test_a_feed_that_the_rules_no_longer_watch_is_withdrawn(changed: dict[str, Any]) -> None:
    """Or its alert would climb until somebody resolves what the site does not ask for."""
    department, context = Department(), MemoryContextStore()
    context.add([fact(0, topic=VITALS, at=START)], [])
    department.worklist = MemoryWorklist(context)
    department.alerts = department.worklist.alerts
    department.start_agent()
    department.clock.advance(minutes(61))
    await department.escalation.sweep()
    assert department.alert("feed/vitals", "feed-down").state == "notified"
    department.policy = replace(POLICY, **changed)
    await department.escalation.sweep()
    assert department.alert("feed/vitals", "feed-down").state == "withdrawn"


async def test_acknowledging_is_one_readers_until_it_is_taken_over() -> None:
    """By the API as on the list; the record names who received it, when and how."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.run()
    alert = department.alert()
    department.clock.advance(minutes(3))
    seen = await department.desk.acknowledge(alert.id, "Ada", "api")
    assert seen.record is not None
    assert (seen.record.received_by, seen.record.received_at, seen.record.method) == ("Ada", START + minutes(3), "api")
    assert (await department.desk.acknowledge(alert.id, "Ada", "api")).acknowledged_by == "Ada"
    with pytest.raises(Conflict, match="Ada was first"):
        await department.desk.acknowledge(alert.id, "Ben", "page")
    assert (await department.desk.acknowledge(alert.id, "Ben", "page", take_over=True)).acknowledged_by == "Ben"
    assert (await department.worklist.get("1.2")).acknowledged_by == "Ben"


async def test_what_was_raised_anew_may_be_acknowledged_by_another() -> None:
    """An old acknowledgement does not answer a new danger."""
    department = Department()
    await department.see(study("1.2", potassium()))
    await department.desk.acknowledge(department.alert().id, "Ada", "page")
    await department.see(study("1.2", potassium(9, 15), version=2))
    assert department.alert().is_open
    await department.worklist.acknowledge("1.2", "Ben", department.clock.now())
    assert department.alert().acknowledged_by == "Ben"


async def test_resolving_keeps_the_six_fields() -> None:
    """Who was told by whom, when and how; closed for good."""
    department = Department()
    await department.see(study("1.2", potassium()))
    said = Resolution(received_by="Dr Roth, ICU", method="phone", confirmed=True)
    done = await department.desk.resolve(department.alert().id, "Ada", said)
    assert done.record == escalation.ClosedLoop(
        finding="K 6.8 mmol/L at 08:00Z, critical above 6.1", identified_at=START, told_by="Ada", received_by="Dr Roth, ICU",
        received_at=START, method="phone",
    )  # fmt: skip
    assert (done.state, done.confirmed) == ("resolved", True)
    with pytest.raises(Conflict, match="resolved already"):
        await department.desk.resolve(done.id, "Ben", Resolution())
    with pytest.raises(Conflict, match="nothing waits"):
        await department.desk.acknowledge(done.id, "Ben", "page")
    with pytest.raises(NotFound):
        await department.desk.resolve("nobody", "Ada", Resolution())


class Hospital:
    """The real stages over memory ports, from a message's event to the alert."""

    def __init__(self) -> None:
        self.department = Department()
        clock = self.department.clock
        self.log = MemoryEventLog(partitions=1)
        context = MemoryContextStore()
        self.worklist = MemoryWorklist(context)
        offsets = MemoryOffsets()
        escalating = Escalation(self.worklist.alerts, self.worklist, clock, lambda: POLICY)
        self.stages = [
            (ContextStage(context, self.log, clock, "context"), (IMAGING, ORDERS, LABS)),
            (RankingStage(self.worklist, self.log, clock, "ranking"), (ASSESSMENTS,)),
            (EscalationStage(escalating, offsets, self.worklist, self.log, clock, "escalation"), (WORKLIST,)),
        ]

    async def say(self, topic, event) -> None:  # type: ignore[no-untyped-def]
        """An event arrives, and everything it leads to."""
        await self.log.append([Record(topic, event.patient.encode(), codec.encode(event))])
        for stage, topics in self.stages:
            for source in topics:
                records = self.log.received(source, 0)
                if records:
                    await stage.handle([Batch(source, 0, records)])

    def state(self) -> str:
        """Of the one alert for a critical value."""
        (alert,) = [alert for alert in self.worklist.alerts.alerts.values() if alert.trigger == "critical"]
        return alert.state


def lab(number: int, value: float, status: str) -> ObservationEvent:
    """One result of one specimen, and its corrections."""
    observation = Observation(
        key="panel|K", effective=Timestamp(START), loinc="2823-3", value=value, unit="mmol/L", status=status, issued=Timestamp(START)  # type: ignore[arg-type]
    )  # fmt: skip
    return ObservationEvent(
        event_id=event_id(number), patient="p", source="lab", recorded_at=START + timedelta(minutes=number), observations=[observation]
    )


def image() -> ImagingEvent:
    """A study to be read."""
    return ImagingEvent(
        event_id=event_id(90), patient="p", source="ct", recorded_at=START, study_uid="1.2", acquired=Timestamp(START), modality="CT",
        accession="acc", order="ord",
    )  # fmt: skip


@pytest.mark.parametrize(("value", "status"), [(4.1, "corrected"), (6.8, "deleted")])
async def test_a_corrected_laboratory_value_withdraws_its_alert(value: float, status: str) -> None:
    """Through context, ranking and escalation, as the records come."""
    hospital = Hospital()
    await hospital.say(IMAGING, image())
    await hospital.say(LABS, lab(1, 6.8, "final"))
    assert hospital.state() == "notified"
    await hospital.say(LABS, lab(2, value, status))
    assert hospital.state() == "withdrawn"


async def test_a_cancelled_order_withdraws_its_alert() -> None:
    """The null on the topic says that the study is gone; the item says why."""
    hospital = Hospital()
    order = OrderEvent(event_id=event_id(50), patient="p", source="ris", recorded_at=START, control="new", order="ord", accession="acc")
    await hospital.say(ORDERS, order)
    await hospital.say(IMAGING, image())
    await hospital.say(LABS, lab(1, 6.8, "final"))
    assert hospital.state() == "notified"
    gone = OrderEvent(
        event_id=event_id(51), patient="p", source="ris", recorded_at=START + minutes(9), control="cancel", order="ord", accession="acc"
    )
    await hospital.say(ORDERS, gone)
    assert hospital.state() == "withdrawn"


async def test_what_is_no_item_is_a_dead_letter() -> None:
    """A bad record stops nothing; a hole of the compacted topic neither."""
    hospital = Hospital()
    stage = hospital.stages[2][0]
    await hospital.log.append([Record(WORKLIST, b"1.2", codec.encode(study("1.2", potassium()))), Record(WORKLIST, b"x", b"{")])
    records = hospital.log.received(WORKLIST, 0)
    holes = [records[0], records[1]._replace(offset=17)]
    await stage.handle([Batch(WORKLIST, 0, holes)])
    assert hospital.state() == "notified"
    assert [letter.offset for letter in hospital.log.documents(DLQ)] == [17]
    assert stage.dead_lettered == {"malformed": 1}
