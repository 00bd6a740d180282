"""The context stage over the in-memory ports."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.domain import critical_labs
from pipeline.domain.evidence import gather
from pipeline.domain.site import DEFAULT, Policy
from pipeline.domain.window import Window
from pipeline.errors import Unavailable
from pipeline.ports import Received, Record
from pipeline.services import context
from pipeline.services.batch import Done, SeekTo
from pipeline.services.context import ContextStage
from schemas import codec
from schemas.events import AdtEvent, AnyEvent, FindingEvent, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent
from schemas.findings import ImageAssessment, ImageFinding
from schemas.identifiers import event_id
from schemas.time import Timestamp
from schemas.topics import ADT, ASSESS, ASSESSMENTS, DLQ, FINDINGS, IMAGING, INPUTS, LABS, ORDERS, REPORTS, VITALS, Topic
from tests.store_fixtures import batch, place

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
ANN, BOB = "a" * 32, "b" * 32
TOPICS = {ImagingEvent: IMAGING, OrderEvent: ORDERS, ReportEvent: REPORTS, AdtEvent: ADT, ObservationEvent: VITALS, FindingEvent: FINDINGS}


class Bench:
    """A stage with its ports, and a Kafka of one partition a topic that it reads from."""

    def __init__(self, windows_max: int = 100) -> None:
        self.policy = DEFAULT
        self.store, self.log, self.clock = MemoryContextStore(), MemoryEventLog(1), ManualClock(T0)
        self.windows_max = windows_max
        self.stage = self.new_stage()
        self.trigger = 0

    def new_stage(self) -> ContextStage:
        return ContextStage(self.store, self.log, self.clock, "g", lambda *seen: gather(*seen, self.policy), windows_max=self.windows_max)

    async def send(self, *events: AnyEvent, topic: Topic | None = None, headers: dict[str, str] | None = None) -> None:
        """Into the log and through the stage, one by one; with headers given, all in one batch."""
        for event in events:
            to = topic or TOPICS[type(event)]
            await self.log.append(
                [Record(to, event.patient.encode(), codec.encode(event), {"event_id": event.event_id, "trace_id": "t", **(headers or {})})]
            )
            if headers is None:
                await self.settle()
        await self.settle()

    async def settle(self) -> None:
        """Reads until nothing is new, what the stage told itself included."""
        moved = True
        while moved:
            moved = False
            for topic in INPUTS:
                start = self.store.ledger.applied.get(("g", topic.name, 0), -1) + 1
                if records := self.log.received(topic, 0, start):
                    await self.stage.handle([batch(records)])
                    moved = True

    def assessments(self) -> list[Any]:
        return self.log.documents(ASSESSMENTS)

    def requests(self) -> list[Any]:
        return self.log.documents(ASSESS)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def vital(name: str, value: float, minutes: float, patient: str = ANN, loinc: str = "8867-4", unit: str = "/min") -> ObservationEvent:
    return ObservationEvent(
        event_id=event_id("test", name),
        patient=patient,
        source="monitor",
        recorded_at=at(minutes),
        observations=[Observation(key=f"{loinc}|{name}", effective=Timestamp(at(minutes)), loinc=loinc, value=value, unit=unit)],
    )


def image(name: str, minutes: float, patient: str = ANN, study: str = "1.2", **fields: Any) -> ImagingEvent:
    fields = {"modality": "CT", "instances": 1, **fields}
    return ImagingEvent(
        event_id=event_id("test", name),
        patient=patient,
        source="CT1",
        recorded_at=at(minutes),
        study_uid=study,
        acquired=Timestamp(at(minutes)),
        **fields,
    )


def report(name: str, minutes: float, patient: str = ANN, status: str = "final", **fields: Any) -> ReportEvent:
    return ReportEvent(
        event_id=event_id("test", name),
        patient=patient,
        source="ris",
        recorded_at=at(minutes),
        report="r",
        status=status,  # type: ignore[arg-type]
        issued=Timestamp(at(minutes)),
        **fields,
    )


def merge(minutes: float, retired: str = BOB, survivor: str = ANN, kind: str = "merge") -> list[AdtEvent]:
    """Under both keys, as gateways send it."""
    return [
        AdtEvent(
            event_id=event_id("test", f"{kind}{minutes}{key}"),
            patient=key,
            source="adt",
            recorded_at=at(minutes),
            trigger="A40" if kind == "merge" else "A37",
            occurred=Timestamp(at(minutes)),
            kind=kind,  # type: ignore[arg-type]
            retired=retired,
            survivor=survivor,
        )
        for key in (retired, survivor)
    ]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_an_image_is_assessed_at_once_and_asked_about(bench: Bench) -> None:
    """A patient with an open study gets an assessment by the rules and a request to score, with the same version and study."""
    await bench.send(vital("v1", 130, 0), image("i1", 5))

    [assessed], [asked] = bench.assessments(), bench.requests()
    assert (assessed.patient, assessed.risk, assessed.studies[0].study_uid) == (ANN, None, "1.2")
    assert assessed.context_version == asked.context_version
    assert at(5) == asked.as_of
    assert asked.features.values["heart_rate.last"] == 130.0
    [record] = bench.log.records(ASSESS)
    assert {"trace_id": "t", "source": "context", "event_id": asked.event_id} == dict(record.headers)


async def test_what_a_model_said_of_a_picture_is_news(bench: Bench) -> None:
    """It stands beside the study, for the ranking to weigh; said again, it is no news."""
    pneumonia = ImageFinding(code="pneumonia", label="pneumonia", probability=0.93, prevalence=0.5, ranks=True)
    said = ImageAssessment(head="chest_frontal", version="1", at=at(1), scorer="triton", findings=(pneumonia,), unlikeness=0.2)
    first, again = (
        FindingEvent(event_id=event_id("test", n), patient=ANN, source="pictures", recorded_at=at(1), study_uid="1.2", uri="u", image=said)
        for n in ("f1", "f2")
    )
    await bench.send(image("i1", 0, modality="DX", body_part="CHEST"), first, again)

    assert [told.studies[0].image for told in bench.assessments()] == [None, said]
    assert bench.stage.suppressed == 1


def finding(
    name: str, minutes: float, uri: str, study: str = "1.2", refused: str | None = None, head: str = "chest_frontal"
) -> FindingEvent:
    said = ImageAssessment(head=head, version="1", at=at(minutes), scorer="triton", unlikeness=0.2, refused=refused)
    told: dict[str, Any] = {"patient": ANN, "source": "pictures", "recorded_at": at(minutes), "study_uid": study, "uri": uri}
    return FindingEvent(event_id=event_id("test", name), image=said, **told)


async def test_what_only_a_sites_own_model_reads_goes_with_the_request(bench: Bench) -> None:
    """The newest film that was looked at and not refused, values beyond the features, the emergencies that words suspect; each is news."""
    film = {"modality": "DX", "body_part": "CHEST"}
    await bench.send(image("i1", 0, study_description="CXR, sepsis?", **film))
    await bench.send(finding("f1", 1, "object:1.2/1.3/1.4.dcm"))
    assert bench.requests()[-1].picture == "object:1.2/1.3/1.4.dcm"
    await bench.send(vital("hb", 6.81234, 2, loinc="718-7", unit="g/dL"))
    asked = bench.requests()[-1]
    assert (asked.picture, asked.values, asked.concepts) == ("object:1.2/1.3/1.4.dcm", {"haemoglobin": 6.8123}, ("sepsis",))
    sent = len(bench.requests())
    await bench.send(vital("hb2", 6.8119, 3, loinc="718-7", unit="g/dL"), finding("f2", 3, "u", refused="colour"))
    await bench.send(finding("f3", 3, "u", head="hand"))
    assert {one.picture for one in bench.requests()[sent - 1 :]} == {"object:1.2/1.3/1.4.dcm"}
    older = replace_struct(image("i2", 4, study="1.9", **film), acquired=Timestamp(at(-9e3)))
    await bench.send(older, finding("f4", 5, "object:1.9/1.3/1.4.dcm", "1.9"))
    assert bench.requests()[-1].picture == "object:1.2/1.3/1.4.dcm", "an older film that came later"
    await bench.send(finding("f5", 6, "object:1.2/1.3/1.5.dcm"))
    assert bench.requests()[-1].picture == "object:1.2/1.3/1.5.dcm"


async def test_vitals_of_patients_without_studies_are_facts_only(bench: Bench) -> None:
    """Nothing is sent on for a patient who has nothing to read, and nothing is held in memory."""
    await bench.send(vital("v1", 80, 0), vital("v2", 90, 1))

    assert 2 == len(bench.store.facts) == bench.stage.applied
    assert bench.assessments() == []
    assert len(bench.stage._windows) == 0


async def test_the_window_last_touched_is_shown_after_each_batch() -> None:
    """For whoever measures it; where nobody has anything to read there is none to be shown."""
    bench, seen = Bench(), list[Window]()
    bench.stage = ContextStage(bench.store, bench.log, bench.clock, "g", on_window=seen.append)
    await bench.send(vital("v1", 80, 0))
    assert seen == []
    await bench.send(image("i1", 5), image("i2", 6, patient=BOB, study="1.3"))

    assert [window.open_studies[0].study_uid for window in seen] == ["1.2", "1.3"]


async def test_only_material_change_is_sent(bench: Bench) -> None:
    """One image more is no news; a new heart rate is."""
    await bench.send(image("i1", 0))
    await bench.send(image("i2", 1, instances=2))
    assert 1 == len(bench.assessments()) == bench.stage.suppressed

    await bench.send(vital("v1", 150, 2))
    assert len(bench.assessments()) == 2


async def test_a_report_closes_a_study_once(bench: Bench) -> None:
    """The closing is told in one assessment, without a request to score."""
    await bench.send(image("i1", 0, accession="acc"))
    await bench.send(report("r1", 10, accession="acc"))
    await bench.send(vital("v1", 150, 20))

    assert [study.closed for study in bench.assessments()[-1].studies] == ["reported"]
    assert len(bench.assessments()) == 2
    assert len(bench.requests()) == 1


async def test_a_report_before_its_study_closes_it_too(bench: Bench) -> None:
    """A study that is already reported when it comes is told as closed."""
    await bench.send(report("r1", 0, accession="acc"), image("i1", 5, accession="acc"))

    assert [[study.closed for study in assessed.studies] for assessed in bench.assessments()] == [["reported"]]
    assert bench.requests() == []


async def test_a_study_beyond_the_bound_is_still_closed(bench: Bench) -> None:
    """Of twenty open studies the window shows the newest twelve; the report of the oldest closes it all the same, and once."""
    for n in range(20):
        await bench.send(image(f"i{n}", n, study=f"1.{n}", accession=f"acc{n}"))
    await bench.send(report("r", 30, study_uid="1.0"), vital("v", 150, 31))

    told = [study.study_uid for assessed in bench.assessments() for study in assessed.studies if study.closed]
    assert told == ["1.0"]


async def test_a_withdrawn_report_reopens_the_study(bench: Bench) -> None:
    """A cancelled report puts the study back."""
    await bench.send(image("i1", 0, accession="acc"), report("r1", 10, accession="acc"))
    await bench.send(report("r2", 20, status="cancelled", accession="acc"))

    assert [study.closed for study in bench.assessments()[-1].studies] == [None]


async def test_urgency_follows_order_and_physiology(bench: Bench) -> None:
    """A critical potassium is more pressing than none."""
    await bench.send(image("i1", 0))
    await bench.send(vital("k", 7.2, 1, loinc="2823-3", unit="mmol/L"))

    assert [asked.urgency for asked in bench.requests()] == [3, 1]


@pytest.mark.parametrize(
    ("key", "body", "reason"),
    [
        (ANN.encode(), b"{", "malformed"),
        (ANN.encode(), b'{"schema":"observation/2"}', "unsupported-major"),
        (ANN.encode(), b'{"schema":"order/1"}', "wrong-topic"),
        (BOB.encode(), codec.encode(vital("v1", 80, 0)), "wrong-key"),
        (ANN.encode(), codec.encode(vital("v1", 80, 0)).replace(b"2026-", b"9999-"), "invalid"),
        (ANN.encode(), codec.encode(vital("v1", 80, 0)).replace(b"monitor", b"\xff\xfe"), "undecodable-text"),
        (ANN.encode(), codec.encode(vital("v1", 80, 0)).replace(b"monitor", rb"mon\u0000itor"), "undecodable-text"),
        (ANN.encode(), b'{"x":' + b"[" * 10**5 + b"]" * 10**5 + codec.encode(vital("v1", 80, 0)).replace(b"{", b",", 1), "malformed"),
    ],
)
async def test_what_cannot_be_understood_is_dead_lettered(bench: Bench, key: bytes, body: bytes, reason: str) -> None:
    """With its bytes, key, place and reason; the stream goes on."""
    await bench.log.append([Record(VITALS, key, body, {"trace_id": "x"})])
    await bench.send(vital("after", 80, 0))

    [letter] = bench.log.documents(DLQ)
    assert (reason, body, key.decode(), "vitals", 0, 0) == (
        letter.reason,
        letter.body,
        letter.key,
        letter.topic,
        letter.partition,
        letter.offset,
    )
    assert (1, {reason: 1}) == (bench.stage.applied, dict(bench.stage.dead_lettered))


async def test_words_that_look_like_a_nul_are_words(bench: Bench) -> None:
    """A backslash and six letters."""
    body = codec.encode(vital("v1", 80, 0)).replace(b"monitor", rb"mon\\u0000itor")
    await bench.log.append([Record(VITALS, ANN.encode(), body, {"trace_id": "x"})])
    await bench.send(vital("after", 80, 0))

    assert (bench.stage.applied, bench.log.documents(DLQ)) == (2, [])


async def test_a_possible_redelivery_is_applied_once(bench: Bench) -> None:
    """An event marked as a redelivery whose id is a fact already, or stands earlier in the batch, is ignored and counted."""
    await bench.send(vital("v1", 80, 0))
    again, twice = vital("v1", 80, 0), vital("v2", 90, 1)
    await bench.send(again, twice, twice, headers={"redelivery": "1"})

    assert len(bench.store.facts) == 2
    assert dict(bench.stage.ignored) == {"duplicate": 2}


async def test_a_gap_is_read_again_and_what_was_applied_is_skipped(bench: Bench) -> None:
    """The applied offset decides, not the consumer's position."""
    records = [Received(VITALS, 0, n, ANN.encode(), codec.encode(vital(f"v{n}", 80, n))) for n in range(4)]

    assert [SeekTo(0)] == await bench.stage.handle([batch(records[2:])])
    assert [Done(3)] == await bench.stage.handle([batch(records[:3])])
    assert [Done(1)] == await bench.stage.handle([batch(records)])
    assert [Done(0)] == await bench.stage.handle([batch(records)])
    assert len(bench.store.facts) == 4


async def test_batches_of_several_partitions_are_one_transaction(bench: Bench) -> None:
    """What comes together of a patient is one assessment, whatever the topics; a hole or a bad record in one partition stops no other."""
    await bench.send(image("i1", 0))
    said, version = len(bench.assessments()), bench.assessments()[-1].context_version
    vitals = [Received(VITALS, 0, 0, ANN.encode(), codec.encode(vital("v1", 150, 1)))]
    labs = [Received(LABS, 0, 0, ANN.encode(), b"no document")]
    orders = [Received(ORDERS, 0, 7, ANN.encode(), b"after a hole")]
    reports = [Received(REPORTS, 0, 0, BOB.encode(), codec.encode(report("r1", 2, patient=BOB)))]

    outcomes = await bench.stage.handle([batch(records) for records in (vitals, labs, orders, reports)])

    assert outcomes == [Done(1), Done(1), SeekTo(0), Done(1)]
    assert [fact.kind for fact in bench.store.facts] == ["imaging", "observation", "report"]
    assert [letter.reason for letter in bench.log.documents(DLQ)] == ["malformed"]
    [assessed] = bench.assessments()[said:]
    assert (assessed.patient, assessed.context_version) == (ANN, version + 1)
    applied = bench.store.ledger.applied
    assert [applied.get(("g", *place(topic))) for topic in (VITALS, LABS, ORDERS, REPORTS)] == [0, 0, None, 0]


async def test_a_failure_in_one_partition_takes_all_of_them_back(bench: Bench) -> None:
    """All or nothing; then each batch is suspected of having been produced before."""
    await bench.send(image("i1", 0))
    batches = [
        batch([Received(VITALS, 0, 0, ANN.encode(), codec.encode(vital("v1", 150, 1)))]),
        batch([Received(REPORTS, 0, 0, BOB.encode(), codec.encode(report("r1", 2, patient=BOB)))]),
    ]
    bench.store.ledger.fail_next_commit()
    with pytest.raises(Unavailable):
        await bench.stage.handle(batches)
    assert len(bench.store.facts) == 1

    assert await bench.stage.handle(batches) == [Done(1), Done(1)]
    assert len(bench.store.facts) == 3
    assert bench.requests()[-1].features.values["heart_rate.last"] == 150.0


async def test_a_failed_batch_leaves_no_trace_in_memory(bench: Bench) -> None:
    """After a failure the same batch gives what it would have given."""
    await bench.send(image("i1", 0))
    bench.log.fail_next()
    records = [Received(VITALS, 0, 0, ANN.encode(), codec.encode(vital("v1", 150, 1)))]
    with pytest.raises(Unavailable):
        await bench.stage.handle([batch(records)])
    assert len(bench.store.facts) == 1

    bench.store.ledger.fail_next_commit()
    with pytest.raises(Unavailable):
        await bench.stage.handle([batch(records)])
    await bench.stage.handle([batch(records)])

    assert 2 == len(bench.store.facts) == bench.stage.applied
    assert bench.requests()[-1].features.values["heart_rate.last"] == 150.0


async def test_memory_is_not_trusted_after_another_worker_moved_on(bench: Bench) -> None:
    """A worker that finds another applied offset than it left drops its windows and derives them from the facts."""
    await bench.send(image("i1", 0), vital("v1", 80, 1))
    other = bench.new_stage()
    await bench.log.append([Record(VITALS, ANN.encode(), codec.encode(vital("v2", 140, 2)))])
    await other.handle([batch(bench.log.received(VITALS, 0, 1))])
    await bench.send(vital("v3", 152, 3))

    values = bench.requests()[-1].features.values
    assert (values["heart_rate.min"], values["heart_rate.max"], values["heart_rate.mean"]) == (80.0, 152.0, 124.0)


async def test_what_the_former_owner_still_applied_is_seen(bench: Bench) -> None:
    """A worker that lost a partition may finish a batch after the new owner has derived a window without it: that window goes."""
    former, owner = bench.stage, bench.new_stage()
    bench.stage = owner
    await bench.send(image("i1", 0))
    await bench.log.append([Record(REPORTS, ANN.encode(), codec.encode(report("r1", 5, study_uid="1.2")), {"event_id": "r1"})])
    records = bench.log.received(REPORTS, 0, 0)
    assert [Done(1)] == await former.handle([batch(records)])
    asked = len(bench.requests())
    assert [Done(0)] == await owner.handle([batch(records)])
    await bench.send(vital("v1", 180, 10))

    assert len(bench.requests()) == asked, "the study is read"


async def test_a_merge_moves_studies_and_values_to_the_survivor(bench: Bench) -> None:
    """After a merge the survivor's assessment has both patients' studies and readings; the retired one is silent."""
    await bench.send(image("i1", 0, study="1.1"), image("i2", 0, patient=BOB, study="2.2"), vital("v1", 120, 1, patient=BOB))
    before = len(bench.assessments())
    await bench.send(*merge(10))

    later = bench.assessments()[before:]
    assert {ANN} == {assessed.patient for assessed in later}
    assert {"1.1", "2.2"} == {study.study_uid for study in later[-1].studies}
    assert bench.requests()[-1].features.values["heart_rate.last"] == 120.0


async def test_later_events_of_a_retired_patient_go_to_the_survivor(bench: Bench) -> None:
    """They are stored once, under the name they came with, and show in the survivor's window."""
    await bench.send(image("i1", 0), *merge(1))
    await bench.send(vital("v1", 133, 2, patient=BOB))

    assert bench.stage.ignored["forwarded"] == 1
    assert [fact.patient for fact in bench.store.facts if fact.kind == "observation"] == [BOB]
    assert (bench.requests()[-1].patient, bench.requests()[-1].features.values["heart_rate.last"]) == (ANN, 133.0)


async def test_an_unmerge_gives_back_what_came_under_the_retired_name(bench: Bench) -> None:
    """Both patients are assessed anew, each with their own studies and values."""
    await bench.send(image("i1", 0, study="1.1"), image("i2", 0, patient=BOB, study="2.2"), *merge(1), vital("v1", 133, 2, patient=BOB))
    before = len(bench.assessments())
    await bench.send(*merge(5, kind="unmerge"))

    last = {assessed.patient: {study.study_uid for study in assessed.studies} for assessed in bench.assessments()[before:]}
    assert {ANN: {"1.1"}, BOB: {"2.2"}} == last
    values = {asked.patient: asked.features.values for asked in bench.requests()}
    assert (values[BOB]["heart_rate.last"], values[ANN].get("heart_rate.last")) == (133.0, None)


async def test_a_merge_in_a_circle_is_dead_lettered(bench: Bench) -> None:
    """Both copies of the second merge are refused; the first stands."""
    await bench.send(*merge(1), *merge(2, retired=ANN, survivor=BOB))

    assert dict(bench.stage.dead_lettered) == {"merge-cycle": 2}
    assert bench.store.statements[BOB].survivor == ANN


async def test_a_self_merge_is_ignored(bench: Bench) -> None:
    """A patient merged into itself means nothing."""
    await bench.send(merge(1, retired=ANN, survivor=ANN)[0])

    assert dict(bench.stage.ignored) == {"self-merge": 1}


async def test_windows_in_memory_are_bounded() -> None:
    """More patients than fit: the least recently touched are derived again when they come back, and say the same."""
    bench = Bench(windows_max=2)
    for n in range(5):
        await bench.send(image(f"i{n}", n, patient=f"{n}" * 32, study=f"1.{n}"))
    assert len(bench.stage._windows) == 2

    await bench.send(vital("v", 120, 10, patient="0" * 32))
    assert (bench.assessments()[-1].patient, bench.assessments()[-1].studies[0].study_uid) == ("0" * 32, "1.0")


async def test_a_new_worker_does_not_say_again_what_has_been_said(bench: Bench) -> None:
    """What is committed has been sent on: a worker that derives a window anew goes on from there, and speaks of what is new."""
    await bench.send(image("i1", 0), vital("v1", 80, 1), vital("v2", 80, 2))
    said = len(bench.requests())
    bench.stage = bench.new_stage()
    await bench.send(vital("v3", 80, 3))
    assert len(bench.requests()) == said
    await bench.send(vital("v4", 140, 4))

    assert len(bench.requests()) == said + 1


def alarming(beats: float) -> Policy:
    """Rules by which a potassium from `beats` on is critical."""
    row = critical_labs.Row((critical_labs.limit("potassium", beats, high=True, inclusive=True),))
    return replace(DEFAULT, critical_labs={**DEFAULT.critical_labs, "potassium": (row,)})


def potassium(name: str, value: float, minutes: float, patient: str = ANN) -> ObservationEvent:
    return vital(name, value, minutes, patient, loinc="2823-3", unit="mmol/L")


def told(bench: Bench) -> list[tuple[str, bool]]:
    """Patient, and whether a value of theirs was critical."""
    return [(said.patient, any(one.kind == "critical-lab" for one in said.evidence)) for said in bench.assessments()]


async def test_new_rules_are_said_of_who_waits_at_once(bench: Bench) -> None:
    """Only of those for whom they make a difference, with a version of their own; back again with the old rules."""
    await bench.send(
        image("i1", 0), potassium("k1", 5.8, 1), image("i2", 2, BOB, "2.3"), potassium("k2", 4, 3, BOB), vital("v", 80, 4, "c" * 32)
    )
    before = len(told(bench))
    bench.policy = alarming(5.5)
    assert await bench.stage.reassess() == 2
    assert told(bench)[before:] == [(ANN, True)]
    assert bench.assessments()[-1].context_version > bench.assessments()[-2].context_version
    assert bench.requests()[-1].context_version == bench.assessments()[-1].context_version
    bench.policy = DEFAULT
    await bench.stage.reassess()
    assert told(bench)[before:] == [(ANN, True), (ANN, False)]
    assert await bench.stage.reassess() == 2 and len(told(bench)) == before + 2


async def test_new_rules_are_said_of_those_who_are_not_in_memory(bench: Bench) -> None:
    """Of a partition from which something has come since the worker began; not of who was merged away, or has nothing to read."""
    await bench.send(image("i1", 0), potassium("k1", 5.8, 1), image("i2", 2, BOB, "2.3"), potassium("k2", 5.9, 3, BOB))
    await bench.send(report("r", 4, BOB, study_uid="2.3"), image("i3", 5, "d" * 32, "4.5"), *merge(6, "d" * 32, "e" * 32))
    bench.windows_max = 1
    bench.stage = bench.new_stage()
    bench.policy = alarming(5.5)
    before = len(told(bench))
    assert await bench.stage.reassess() == 0
    await bench.send(vital("v", 80, 7, "c" * 32))
    assert await bench.stage.reassess() == 3
    assert told(bench)[before:] == [(ANN, True)] and bench.stage.windows <= 1


async def test_new_rules_are_said_of_the_others_with_their_next_event(bench: Bench) -> None:
    """A window that is not in memory is derived anew then, and nobody knows by which rules it was spoken of."""
    await bench.send(image("i1", 0), potassium("k1", 5.8, 1))
    bench.stage = bench.new_stage()
    bench.policy = alarming(5.5)
    assert await bench.stage.reassess() == 0
    before = len(told(bench))
    await bench.send(potassium("k3", 5.8, 5))
    assert told(bench)[before:] == [(ANN, True)]


async def test_rules_that_changed_while_nobody_worked_are_said_of_who_was_judged_before(bench: Bench) -> None:
    """When a partition's first batch has come; once, though somebody else's."""
    await bench.send(image("i1", 0), potassium("k1", 5.8, 1), image("i2", 2, BOB, "2.3"), potassium("k2", 5.8, 3, BOB))
    bench.stage = bench.new_stage()
    bench.policy, bench.store.behind = alarming(5.5), {ANN}
    before = len(told(bench))
    assert await bench.stage.catch_up() == 0
    await bench.send(vital("v", 80, 5, "c" * 32))
    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.stage.catch_up()
    assert await bench.stage.catch_up() == 1
    assert told(bench)[before:] == [(ANN, True)]
    assert await bench.stage.catch_up() == 0


async def test_new_rules_are_not_said_of_patients_lost_in_between(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebalance amid it: whoever has the partition now says it, by a window that may be newer."""
    monkeypatch.setattr(context, "REASSESSED_AT_ONCE", 1)
    await bench.send(image("i1", 0), potassium("k1", 5.8, 1), image("i2", 2, BOB, "2.3"), potassium("k2", 5.8, 3, BOB))
    event = potassium("k3", 4, 4, "c" * 32)
    other = Received(VITALS, 1, 0, event.patient.encode(), codec.encode(event), {"event_id": event.event_id})
    others: list[asyncio.Task[Any]] = []
    append = bench.log.append

    async def rebalanced(records: Any) -> None:
        await append(records)
        if not others:
            bench.stage.forget()
            others.append(asyncio.create_task(bench.stage.handle([batch([other])])))
            await asyncio.sleep(0)  # it waits for its turn

    bench.policy = alarming(5.5)
    before = len(told(bench))
    monkeypatch.setattr(bench.log, "append", rebalanced)
    await bench.stage.reassess()
    await others[0]
    assert told(bench)[before:] == [(ANN, True)]


async def test_new_rules_are_said_once_by_who_has_the_patients(bench: Bench) -> None:
    """A worker whose partitions another has says nothing; one whose log is away says it the next time."""
    await bench.send(image("i1", 0), potassium("k1", 5.8, 1))
    former = bench.stage
    bench.stage = bench.new_stage()
    await bench.send(vital("v1", 80, 2))
    bench.policy = alarming(5.5)
    before = len(told(bench))
    await former.reassess()
    assert len(told(bench)) == before and former.windows == 0

    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.stage.reassess()
    assert len(told(bench)) == before
    await bench.stage.reassess()
    assert told(bench)[before:] == [(ANN, True)]
