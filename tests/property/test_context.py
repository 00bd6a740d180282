"""The context stage loses nothing and doubles nothing, whatever the interleaving of partitions, merges, crashes and redeliveries."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.context_store import MemoryContextStore, closure, survivor_of
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.domain.evidence import gather
from pipeline.domain.features import extract
from pipeline.domain.window import Window
from pipeline.errors import Unavailable
from pipeline.ports import Batch, Place, Received, Record
from pipeline.services.assessing import view
from pipeline.services.batch import SeekTo
from pipeline.services.context import ContextStage
from schemas import codec
from schemas.assessments import Assessment
from schemas.events import AdtEvent, AnyEvent, FindingEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent
from schemas.time import Timestamp
from schemas.topics import ADT, ASSESSMENTS, DLQ, FINDINGS, IMAGING, INPUTS, ORDERS, REPORTS, VITALS, Topic
from tests.property.histories import START, events, ids, imaging_events

PATIENTS = ("ann", "bob", "cid")
TOPICS = {ImagingEvent: IMAGING, OrderEvent: ORDERS, ReportEvent: REPORTS, AdtEvent: ADT, ObservationEvent: VITALS, FindingEvent: FINDINGS}
PARTITIONS = 2
GROUP = "g"


@st.composite
def statements(draw: st.DrawFn) -> list[AnyEvent]:
    """A merge or unmerge under both keys. Always of a later name into an earlier one, so that no order of them makes a circle."""
    survivor, retired = sorted(draw(st.permutations(PATIENTS))[:2])
    recorded_at = START + timedelta(minutes=draw(st.integers(0, 10**4)))
    kind = draw(st.sampled_from(("merge", "merge", "unmerge")))
    return [
        AdtEvent(
            event_id=draw(ids),
            patient=patient,
            source="adt",
            recorded_at=recorded_at,
            trigger="A40" if kind == "merge" else "A37",
            occurred=Timestamp(recorded_at),
            kind=kind,
            retired=retired,
            survivor=survivor,
        )
        for patient in (retired, survivor)
    ]


one_event = st.sampled_from(PATIENTS).flatmap(
    lambda patient: st.one_of(events(patient, patient), imaging_events(patient, patient, studies=3))
)
histories = st.lists(
    st.one_of(*[one_event.map(lambda event: [event])] * 3, statements()),
    min_size=4,
    max_size=25,
).map(lambda groups: [event for group in groups for event in group])


class Hospital:
    """Two workers, one for each partition number of all topics, over one store and one log."""

    def __init__(self, history: list[AnyEvent]) -> None:
        self.store, self.log, self.clock = MemoryContextStore(), MemoryEventLog(PARTITIONS), ManualClock(START)
        self.stages = [self.new_stage() for _ in range(PARTITIONS)]
        self.positions: Counter[Place] = Counter()
        asyncio.run(self.log.append([self.record(event) for event in history]))

    def new_stage(self) -> ContextStage:
        return ContextStage(self.store, self.log, self.clock, GROUP)

    def record(self, event: AnyEvent) -> Record:
        return Record(TOPICS[type(event)], event.patient.encode(), codec.encode(event), {"event_id": event.event_id})

    def waiting(self) -> list[tuple[int, list[Topic]]]:
        """The workers with something to read, and in which topics."""
        found = [(number, [topic for topic in INPUTS if self.unread(topic, number)]) for number in range(PARTITIONS)]
        return [(number, topics) for number, topics in found if topics]

    def unread(self, topic: Topic, number: int) -> list[Received]:
        """What stands after the consumer's position."""
        return self.log.received(topic, number, self.positions[Place(topic.name, number)])

    async def step(self, topics: list[Topic], number: int, size: int) -> None:
        """A batch of each topic; as a consumer does it, from where the positions stand, and back where the stage says so."""
        batches = [Batch(topic, number, self.unread(topic, number)[:size]) for topic in topics]
        try:
            outcomes = await self.stages[number].handle(batches)
        except Unavailable:
            return
        for batch, outcome in zip(batches, outcomes, strict=True):
            self.positions[batch.place] = outcome.offset if isinstance(outcome, SeekTo) else batch.records[-1].offset + 1


def run(data: st.DataObject, hospital: Hospital, faults: bool) -> None:
    """Until everything is read; faults come while the drawn choices last."""
    budget = 60
    while waiting := hospital.waiting():
        number, topics = data.draw(st.sampled_from(waiting)) if budget > 0 else waiting[0]
        if budget > 0:
            topics = data.draw(st.lists(st.sampled_from(topics), min_size=1, max_size=3, unique=True))
        size = data.draw(st.integers(1, 4)) if budget > 0 else 50
        if faults and budget > 0:
            fault(data, hospital, topics[0], number)
        budget -= 1
        asyncio.run(hospital.step(topics, number, size))


def fault(data: st.DataObject, hospital: Hospital, topic: Topic, partition: int) -> None:
    """Kafka takes a part and fails, Postgres dies at commit, the worker is replaced, the consumer goes back or jumps ahead."""
    place = Place(topic.name, partition)
    kind = data.draw(st.sampled_from((None, None, "log", "log", "commit", "worker", "back", "ahead")))
    if kind == "log":
        hospital.log.fail_next(written=data.draw(st.integers(0, 3)))
    elif kind == "commit":
        hospital.store.ledger.fail_next_commit()
    elif kind == "worker":
        hospital.stages[partition] = hospital.new_stage()
    elif kind == "back":
        hospital.positions[place] = max(0, hospital.positions[place] - 2)
    elif kind == "ahead" and len(hospital.unread(topic, partition)) > 1:
        hospital.positions[place] += 1


def check(history: list[AnyEvent], hospital: Hospital) -> None:
    """Each event is one fact, each record has one end, and the newest word on each study is what all facts together say."""
    store, log = hospital.store, hospital.log
    facts = Counter((fact.patient, fact.event_id) for fact in store.facts)
    assert facts == Counter((event.patient, event.event_id) for event in history)
    read = Counter((topic.name, p, r.offset) for topic in INPUTS for p in range(PARTITIONS) for r in log.received(topic, p))
    ends = Counter((end.topic, end.partition, end.offset) for end in (*store.facts, *store.ignored))
    assert ends == read
    assert log.records(DLQ) == []
    newest: dict[str, Assessment] = {}
    for assessed in sorted(log.documents(ASSESSMENTS), key=lambda a: a.context_version):
        newest.update((study.study_uid, assessed) for study in assessed.studies)
    for patient in PATIENTS:
        if survivor_of(patient, store.statements) == patient:
            check_patient(patient, newest, hospital)


def check_patient(patient: str, newest: dict[str, Assessment], hospital: Hospital) -> None:
    store = hospital.store
    window = Window.derive([codec.decode_event(fact.body) for fact in store.facts_of(patient)])
    shown = window.open_studies
    for study in window.studies:
        said = {s.study_uid: s for s in newest[study.study_uid].studies}[study.study_uid]
        assert said.closed == study.closed
        if study.closed is None:
            assert newest[study.study_uid].patient == patient
            now, then = view(window, shown, gather, extract), newest[study.study_uid]
            assert {s.study_uid for s in shown} == {s.study_uid for s in then.studies if s.closed is None}
            assert {(e.kind, e.code, round(e.severity, 2)) for e in now.evidence} == {
                (e.kind, e.code, round(e.severity, 2)) for e in then.evidence
            }
    assert closure(patient, store.statements)


relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@relaxed
@given(st.data(), histories)
def test_any_interleaving_gives_the_same_facts_and_assessments(data: st.DataObject, history: list[AnyEvent]) -> None:
    """Six topics, two partitions, two workers, merges and unmerges told in any order."""
    hospital = Hospital(history)
    run(data, hospital, faults=False)

    check(history, hospital)


@relaxed
@given(st.data(), histories)
def test_crashes_and_redelivery_lose_and_double_nothing(data: st.DataObject, history: list[AnyEvent]) -> None:
    """Kafka and Postgres fail at any step, workers are replaced, consumers go back and jump ahead."""
    hospital = Hospital(history)
    run(data, hospital, faults=True)

    check(history, hospital)
