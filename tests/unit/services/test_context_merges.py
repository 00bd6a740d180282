"""Merges and unmerges where two workers, or a crash, come in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.errors import Unavailable
from pipeline.ports import Received, Record
from pipeline.services.context import ContextStage
from schemas import codec
from schemas.events import AnyEvent
from schemas.topics import ADT, ASSESS, IMAGING, VITALS, Topic
from tests.store_fixtures import batch
from tests.unit.services.test_context import ANN, BOB, Bench, image, merge, vital

CID = "c" * 32


def received(topic: Topic, partition: int, offset: int, event: AnyEvent, **headers: str) -> Received:
    return Received(topic, partition, offset, event.patient.encode(), codec.encode(event), {"event_id": event.event_id, **headers})


class HeldBack(MemoryEventLog):
    """A log that acknowledges only when the test lets it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def append(self, records: Sequence[Record]) -> None:
        self.reached.set()
        await self.go.wait()
        await super().append(records)


async def test_facts_in_flight_during_a_merge_reach_the_survivor() -> None:
    """The retired patient's worker commits a value after the survivor's worker has merged: it tells the survivor's, which derives again."""
    bench, slow = Bench(), HeldBack()
    theirs = bench.new_stage()
    ours = ContextStage(bench.store, slow, bench.clock, "g")
    slow.go.set()
    await ours.handle([batch([received(IMAGING, 1, 0, image("i", 0, patient=BOB))])])
    slow.go.clear()
    slow.reached.clear()
    retired, survivor = merge(5)

    late = asyncio.create_task(ours.handle([batch([received(VITALS, 1, 0, vital("v", 155, 1, patient=BOB))])]))
    await slow.reached.wait()
    await theirs.handle([batch([received(ADT, 0, 0, survivor)])])
    assert "heart_rate.last" not in bench.requests()[-1].features.values

    slow.go.set()
    await late
    await ours.handle([batch([received(ADT, 1, 0, retired)])])
    [told] = [record for record in slow.records(ADT) if record.key == ANN.encode()]
    await theirs.handle([batch([Received(ADT, 0, 1, told.key, told.value or b"", told.headers)])])
    last = bench.log.documents(ASSESS)[-1]
    assert (last.patient, last.features.values["heart_rate.last"]) == (ANN, 155.0)
    assert theirs.ignored["merge-told"] == 1


async def test_a_patient_merged_elsewhere_leaves_the_first_survivor() -> None:
    """A newer merge into another patient takes the studies away from the one before, who is told."""
    bench = Bench()
    await bench.send(image("a", 0, study="1.1"), image("c", 0, patient=CID, study="3.3"), image("b", 0, patient=BOB, study="2.2"))
    await bench.send(*merge(1, retired=BOB, survivor=CID))
    await bench.send(*merge(2, retired=BOB, survivor=ANN))

    last = {assessed.patient: {study.study_uid for study in assessed.studies} for assessed in bench.assessments()}
    assert (last[CID], last[ANN]) == ({"3.3"}, {"1.1", "2.2"})


async def test_an_event_forwarded_before_a_crash_is_not_stored_twice() -> None:
    """Forwarded, not committed, stored by the survivor's worker; then an unmerge: read again, it is known."""
    bench = Bench()
    await bench.send(*merge(1))
    await bench.log.append([Record(VITALS, BOB.encode(), codec.encode(vital("v", 99, 2, patient=BOB)))])
    records = bench.log.received(VITALS, 0, 0)
    bench.store.ledger.fail_next_commit()
    with pytest.raises(Unavailable):
        await bench.stage.handle([batch(records)])
    [forwarded] = bench.log.received(VITALS, 0, 1)

    other = bench.new_stage()
    await other.handle([batch([Received(VITALS, 1, 0, forwarded.key, forwarded.body, forwarded.headers)])])
    await bench.send(*merge(3, kind="unmerge"), headers={})

    assert [fact.patient for fact in bench.store.facts if fact.kind == "observation"] == [BOB]
