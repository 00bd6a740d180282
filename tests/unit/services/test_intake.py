"""The order of things at the edge: vault, Kafka, receipt, and what a resend meets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.errors import Refused, Unavailable
from pipeline.ports import Identity, Received, Record
from pipeline.services.intake import Arrival, Intake, Origin
from schemas import codec
from schemas.events import Observation, ObservationEvent, ReportEvent
from schemas.identifiers import unmatched_patient_key
from schemas.time import Timestamp
from schemas.topics import ADT, LABS, RECORD_BYTES_MAX, REPORTS, Topic


class Bench:
    """An intake over in-memory stores."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log, self.receipts, self.vault = MemoryEventLog(), MemoryReceipts(), MemoryVault(self.clock)
        self.intake = Intake(self.log, self.receipts, self.vault, self.clock)

    def arrival(self, identity: str = "1", patient: str = "p", text: str = "", links: dict[str, str] | None = None) -> Arrival:
        """A report of `patient`."""
        origin, now = Origin("ris", "hl7", identity), self.clock.now()
        event = ReportEvent(
            event_id=origin.event_id(),
            patient=patient,
            source="ris",
            recorded_at=now,
            report="r",
            status="final",
            issued=Timestamp(now),
            text=text,
        )
        return Arrival(origin, [(REPORTS, event)], [Identity(patient, "4711", "HOSP", "Doe^Jane")], links=links or {})

    def sent(self, topic: Topic) -> list[Received]:
        """What stands on a topic."""
        return [record for partition in range(8) for record in self.log.received(topic, partition)]


@pytest.fixture
def bench() -> Bench:
    """A fresh one."""
    return Bench()


async def test_an_accepted_message_is_in_kafka_and_has_a_receipt(bench: Bench) -> None:
    """The receipt names the events."""
    receipt = await bench.intake.accept(bench.arrival())

    assert [record.headers["event_id"] for record in bench.sent(REPORTS)] == list(receipt.event_ids)
    assert bench.receipts.closed["ris", "hl7", "1"] == receipt


async def test_a_resend_is_answered_by_the_old_receipt(bench: Bench) -> None:
    """Acknowledged again, not applied again."""
    first = await bench.intake.accept(bench.arrival())
    bench.clock.advance(timedelta(minutes=1))

    assert await bench.intake.accept(bench.arrival()) == first
    assert len(bench.sent(REPORTS)) == 1


async def test_a_resend_waits_for_what_is_under_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never gets into Kafka before the message that it repeats; where that one fails, it goes itself, marked."""
    reached, go_on, append = asyncio.Event(), asyncio.Event(), bench.log.append

    async def slow(records: Sequence[Record]) -> None:
        reached.set()
        await go_on.wait()
        await append(records)

    monkeypatch.setattr(bench.log, "append", slow)
    first = asyncio.ensure_future(bench.intake.accept(bench.arrival()))
    await reached.wait()
    again = asyncio.ensure_future(bench.intake.accept(bench.arrival()))
    failing = asyncio.ensure_future(bench.intake.accept(bench.arrival("2")))
    await asyncio.sleep(0)
    instead = asyncio.ensure_future(bench.intake.accept(bench.arrival("2")))
    for _ in range(20):
        await asyncio.sleep(0)
    failing.cancel()
    go_on.set()

    assert await first == await again
    assert (await instead).outcome == "accepted"
    assert [record.headers.get("redelivery") for record in bench.sent(REPORTS)] == [None, "1"]


async def test_what_no_table_maps_is_counted_once(bench: Bench) -> None:
    """When it is accepted, not when it is refused or comes again."""
    arrival = replace(bench.arrival(), unmapped={"unit-missing": 2})
    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.intake.accept(arrival)
    for _ in range(2):
        await bench.intake.accept(arrival)

    assert bench.intake.unmapped == {"unit-missing": 2}


async def test_values_that_cannot_be_are_counted_once(bench: Bench) -> None:
    """A potassium of 68 and one of the day after tomorrow are no readings of any window; one of 4.2 is."""
    now = bench.clock.now()
    potassium = Observation(key="k", effective=Timestamp(now), loinc="2823-3", value=4.2, unit="mmol/L")
    told = [
        potassium,
        msgspec.structs.replace(potassium, value=68.0),
        msgspec.structs.replace(potassium, effective=Timestamp(now + timedelta(days=2))),
    ]
    event = ObservationEvent(event_id="e", patient="p", source="lis", recorded_at=now, observations=told)
    arrival = replace(bench.arrival(), events=[(LABS, event)])
    for _ in range(2):
        await bench.intake.accept(arrival)

    assert bench.intake.unmapped == {"out-of-range": 1, "future-time": 1}


async def test_a_message_that_kafka_did_not_take_has_no_outcome(bench: Bench) -> None:
    """Its resend is marked, since some of it may be there."""
    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.intake.accept(bench.arrival())
    assert bench.receipts.closed == {}

    await bench.intake.accept(bench.arrival())

    assert [record.headers.get("redelivery") for record in bench.sent(REPORTS)] == ["1"]


async def test_a_refused_message_may_come_again(bench: Bench) -> None:
    """After a fix it is accepted, marked as a possible redelivery."""
    await bench.intake.refuse(Origin("ris", "hl7", "1"), "invalid")
    receipt = await bench.intake.accept(bench.arrival())

    assert receipt.outcome == "accepted"
    assert [record.headers.get("redelivery") for record in bench.sent(REPORTS)] == ["1"]


async def test_a_number_that_gets_a_patient_claims_the_study_held_under_it(bench: Bench) -> None:
    """A study without PatientID becomes the patient's: a merge under both keys."""
    held = unmatched_patient_key(b"k", "1.2.3")
    await bench.intake.accept(bench.arrival("image", held, links={"accession": held}))
    await bench.intake.accept(bench.arrival("order", "real", links={"accession": "real"}))
    merges = [(record.key.decode(), record.body) for record in bench.sent(ADT)]

    assert {key for key, _ in merges} == {held, "real"}
    assert await bench.vault.linked(["accession"]) == {"accession": "real"}


async def test_a_stand_in_that_comes_a_moment_late_is_merged_as_well(bench: Bench) -> None:
    """Two gateways at once: the image did not know the patient yet when it was read, and says so after the order has."""
    held = unmatched_patient_key(b"k", "1.2.3")
    await bench.intake.accept(bench.arrival("order", "real", links={"accession": "real"}))
    await bench.intake.accept(bench.arrival("image", held, links={"accession": held}))

    assert {record.key.decode() for record in bench.sent(ADT)} == {held, "real"}
    assert await bench.vault.linked(["accession"]) == {"accession": "real"}


async def test_a_stand_in_noted_in_between_is_claimed_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order looks, sees nobody, and before it can note its patient the image has noted its stand-in."""
    held, linked = unmatched_patient_key(b"k", "1.2.3"), bench.vault.linked

    async def overtaken(numbers: Collection[str]) -> Mapping[str, str]:
        seen = await linked(numbers)
        await bench.vault.link("accession", held)
        return seen

    monkeypatch.setattr(bench.vault, "linked", overtaken)
    await bench.intake.accept(bench.arrival("order", "real", links={"accession": "real"}))

    assert {record.key.decode() for record in bench.sent(ADT)} == {held, "real"}
    assert await linked(["accession"]) == {"accession": "real"}


async def test_a_claim_that_kafka_did_not_take_is_made_again(bench: Bench) -> None:
    """The number means the patient only when the merge is in Kafka: else the resend would find nothing to claim."""
    held = unmatched_patient_key(b"k", "1.2.3")
    await bench.intake.accept(bench.arrival("image", held, links={"accession": held}))
    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.intake.accept(bench.arrival("order", "real", links={"accession": "real"}))
    assert await bench.vault.linked(["accession"]) == {"accession": held}
    await bench.intake.accept(bench.arrival("order", "real", links={"accession": "real"}))

    assert {record.key.decode() for record in bench.sent(ADT)} == {held, "real"}


async def test_a_visits_stand_in_becomes_its_patients(bench: Bench) -> None:
    """A value names only its visit, the visit only a patient unseen so far, and then the patient comes: all three are one."""
    visit, person = unmatched_patient_key(b"k", "visit"), unmatched_patient_key(b"k", "person")
    await bench.intake.accept(bench.arrival("value", visit, links={"visit": visit}))
    await bench.intake.accept(bench.arrival("visit", person, links={"visit": person, "person": person}))
    await bench.intake.accept(bench.arrival("patient", "real", links={"person": "real"}))
    merges = [codec.decode(ADT, record.body) for record in bench.sent(ADT)]

    assert {(merge.retired, merge.survivor) for merge in merges} == {(visit, person), (person, "real")}


async def test_an_ordinary_change_of_patient_is_no_merge(bench: Bench) -> None:
    """Only what was held as unmatched is claimed."""
    await bench.intake.accept(bench.arrival("1", "a", links={"accession": "a"}))
    await bench.intake.accept(bench.arrival("2", "b", links={"accession": "b"}))

    assert bench.sent(ADT) == []


async def test_an_event_that_no_topic_takes_is_refused(bench: Bench) -> None:
    """Refused at the edge: retrying would never help."""
    with pytest.raises(Refused, match="too-large"):
        await bench.intake.accept(bench.arrival(text="x" * RECORD_BYTES_MAX))
    assert bench.sent(REPORTS) == []


def test_event_ids_are_stable_and_distinct() -> None:
    """The same message gives the same ids; its parts and other sources give others."""
    origin = Origin("ris", "hl7", "1")

    assert origin.event_id("a") == Origin("ris", "hl7", "1").event_id("a")
    assert len({origin.event_id("a"), origin.event_id("b"), Origin("lis", "hl7", "1").event_id("a"), origin.event_id("trace")}) == 4
