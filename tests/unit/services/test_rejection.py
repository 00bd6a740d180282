"""A rejected image, from the rejection note that a modality sends to the place of the study on the list: the same in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.objects import MemoryObjectStore
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.study_ledger import MemoryStudyLedger
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.domain import ranking
from pipeline.domain.window import Window, derive
from pipeline.errors import Refused
from pipeline.gateways.dicom.reception import Needs, Outcome, Reception
from pipeline.services.intake import Intake
from pipeline.settings import Gateways
from schemas.assessments import Assessment, Rejected
from schemas.events import AnyEvent, FindingEvent, ImagingEvent, ReportEvent
from schemas.findings import ImageAssessment, ImageFinding
from schemas.time import Timestamp
from schemas.topics import IMAGING
from schemas.worklist import WorklistItem
from tests.dicom_objects import as_file, ct, key_objects
from tests.unit.services.test_context import Bench

SECOND = timedelta(seconds=1)
STUDY, OTHER = "1.2.826.0.1.3680043.10.1", "1.2.826.0.1.3680043.10.2"


class Gateway:
    """What an object goes through however it came, with in-memory twins behind it; a second passes with each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clock, self.log, self.ledger, self.objects = ManualClock(), MemoryEventLog(1), MemoryStudyLedger(), MemoryObjectStore()
        vault = MemoryVault(self.clock)
        self.intake = Intake(self.log, MemoryReceipts(), vault, self.clock)
        needs = Needs(self.intake, self.objects, vault, self.ledger, b"k" * 32, self.clock)
        self.reception = Reception(Gateways(quiet_study_s=5), needs)

    async def take(self, dataset: Dataset) -> Outcome:
        self.clock.advance(SECOND)
        path = self._folder / "object.dcm"
        path.write_bytes(as_file(dataset))
        return await self.reception.receive(path, "DX1")

    def events(self) -> list[ImagingEvent]:
        return self.log.documents(IMAGING)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def film(instance: str, study: str = STUDY) -> Dataset:
    """A frontal chest film."""
    return ct(SOPClassUID=DigitalXRayImageStorageForPresentation, SOPInstanceUID=instance, StudyInstanceUID=study, Modality="DX",
              BodyPartExamined="CHEST", ViewPosition="PA")  # fmt: skip


def looked_at(event: ImagingEvent, probability: float) -> FindingEvent:
    """What the picture stage says of it a second later."""
    found = ImageFinding(code="pneumothorax", label="pneumothorax", probability=probability, prevalence=0.1, ranks=True)
    at = event.recorded_at + SECOND
    said = ImageAssessment(head="chest_frontal", version="1", at=at, scorer="triton", findings=(found,))
    assert event.uri is not None
    return FindingEvent(
        event_id=f"{event.event_id}-seen", patient=event.patient, source="pictures", recorded_at=at, study_uid=event.study_uid,
        uri=event.uri, image=said,
    )  # fmt: skip


async def told(gateway: Gateway, *objects: Dataset) -> list[ImagingEvent]:
    """What the topic imaging holds once these have come."""
    for one in objects:
        await gateway.take(one)
    return gateway.events()


def ranked(before: WorklistItem | None, assessments: Sequence[Assessment]) -> list[WorklistItem]:
    """The study's item after each assessment."""
    items = []
    for one in assessments:
        for study in one.studies:
            before = ranking.rank(before, one, study, one.recorded_at)
            items.append(before)
    return items


async def test_a_rejected_film_takes_its_finding_back(gateway: Gateway) -> None:
    """From the objects to the list: the pull goes, the reason stays, and the model is asked no more with that film."""
    image, note = await told(gateway, film("1.2.3"), key_objects("113001", {STUDY: ["1.2.3"]}))
    bench = Bench()
    await bench.send(image, looked_at(image, 0.97))
    assert bench.requests()[-1].picture == image.uri
    await bench.send(note)

    _, urgent, now = ranked(None, bench.assessments())
    assert urgent.why == "image: pneumothorax 0.97" and urgent.due_at < urgent.target_at
    assert (now.due_at, now.study.image, bench.requests()[-1].picture) == (now.target_at, None, None)
    label = f"image rejected for quality reasons, {note.recorded_at:%Y-%m-%d %H:%MZ}"
    assert [(reason.evidence.label, reason.minutes) for reason in now.reasons if reason.evidence.kind == "rejection"] == [(label, 0.0)]
    assert (now.study.instances, now.provisional) == (2, True)


@pytest.mark.parametrize("code", ["113001", "113037", "113038"])
async def test_the_result_is_the_same_in_any_order(gateway: Gateway, code: str) -> None:
    """Note before image, note twice, findings after the note, a study that has a report: whatever comes first, or comes again."""
    retake, first = "1.2.4", "1.2.3"
    images = await told(gateway, film(first), film(retake), key_objects(code, {STUDY: [first], OTHER: ["1.2.9"]}))
    again = [event for event in await told(gateway, key_objects(code, {STUDY: [first]})) if event not in images]
    one, two, *notes = [*images, *again]
    read = ReportEvent(event_id="r", patient=one.patient, source="ris", recorded_at=two.recorded_at, report="r", status="preliminary",
                       issued=Timestamp(two.recorded_at), study_uid=STUDY, text="No pneumothorax.")  # fmt: skip
    events: list[AnyEvent] = [one, two, notes[0], notes[2], looked_at(one, 0.97), looked_at(two, 0.31), read]
    expected = derive([*events, notes[1]])

    (study,) = expected.studies
    assert study.rejected == (Rejected(code, 1, notes[0].recorded_at, notes[0].event_id),)  # type: ignore[arg-type]
    assert study.image is not None and study.image.findings[0].probability == 0.31, "what is said of the retake stays"
    assert (study.ready_at, study.instances, expected.picture) == (one.recorded_at, 4, two.uri)
    for number in range(60):
        order = random.Random(number).sample(events, len(events))
        window, seen = Window(), list[AnyEvent]()
        for event in (*order, notes[1], order[number % len(order)]):
            seen.append(event)
            if not window.apply(event):
                window = derive(seen)
        assert (window.studies, window.picture) == (expected.studies, expected.picture)


async def test_the_stage_says_the_same_in_any_order(gateway: Gateway) -> None:
    """As the list hears of it: what was said last of the study, with restarts between."""
    image, note = await told(gateway, film("1.2.3"), key_objects("113037", {STUDY: ["1.2.3"]}))
    events = [image, note, looked_at(image, 0.97)]
    said = []
    for order in permutations(events):
        for restart in range(len(order)):
            bench = Bench()
            for place, event in enumerate(order):
                if place == restart:
                    bench.stage = bench.new_stage()
                await bench.send(event)
            said.append((bench.assessments()[-1].studies, bench.requests()[-1].picture))
    assert all(one == said[0] for one in said)
    assert said[0][0][0].image is None and said[0][1] is None


async def test_a_study_that_has_been_read_hears_of_it_too(gateway: Gateway) -> None:
    """What the model said against the report is gone, and the history says why."""
    image, note = await told(gateway, film("1.2.3"), key_objects("113038", {STUDY: ["1.2.3"]}))
    final = ReportEvent(event_id="r", patient=image.patient, source="ris", recorded_at=note.recorded_at, report="r", status="final",
                        issued=Timestamp(note.recorded_at), study_uid=STUDY, text="No pneumothorax.")  # fmt: skip
    bench = Bench()
    await bench.send(image, looked_at(image, 0.97), final, note)

    *_, read, now = ranked(None, bench.assessments())
    assert (read.state, now.state, now.study.image) == ("closed", "closed", None)
    cause = ranking.explanation.cause(read, now)
    assert cause.startswith("image rejected for a wrong worklist entry, perhaps not of this patient, ")
    assert cause.endswith("; no longer: image: pneumothorax 0.97")


async def test_a_note_alone_puts_no_study_on_the_list(gateway: Gateway) -> None:
    """Nor does it make one complete whose images are yet to come: what the gateway holds of it is counted all the same."""
    [note] = await told(gateway, key_objects("113001", {STUDY: ["1.2.3"]}))
    gateway.clock.advance(60 * SECOND)
    assert (await gateway.reception.completion.look(), derive([note]).studies) == (0, [])

    _, image = await told(gateway, film("1.2.4"))
    (study,) = derive([note, image]).studies
    assert (study.complete, study.instances, study.ready_at) == (False, 2, image.recorded_at)
    gateway.clock.advance(60 * SECOND)
    assert await gateway.reception.completion.look() == 1
    assert [(event.kind, event.instances) for event in gateway.events()[2:]] == [("complete", 2)]


async def test_other_studies_of_the_note_have_events_of_their_own(gateway: Gateway) -> None:
    """Under the same patient; sent again, the same ids."""
    note = key_objects("113001", {OTHER: ["1.2.5"], STUDY: ["1.2.3"]}, SOPInstanceUID="1.2.99")
    own, other = await told(gateway, note)
    assert await gateway.take(note) == Outcome("ignored", "duplicate", STUDY, "1.2.99", note.SOPClassUID)

    assert [(one.study_uid, one.rejection.instances) for one in (own, other) if one.rejection] == [(STUDY, ("1.2.3",)), (OTHER, ("1.2.5",))]
    assert (own.uri is not None, other.uri, own.patient == other.patient, own.event_id == other.event_id) == (True, None, True, False)


async def test_an_image_that_leaves_an_archive_stays_valid(gateway: Gateway) -> None:
    """Nothing is taken back, nothing stored; it is counted."""
    outcome = await gateway.take(key_objects("113039", {STUDY: ["1.2.3"]}))

    assert (outcome.outcome, outcome.reason) == ("ignored", "retention-expired")
    assert (gateway.events(), gateway.intake.outcomes) == ([], {("ignored", "retention-expired"): 1})


async def test_a_note_that_cannot_be_read_is_refused(gateway: Gateway) -> None:
    """With its reason, counted; nothing of it takes effect."""
    with pytest.raises(Refused, match="malformed"):
        await gateway.take(key_objects("113001", {}))

    assert (gateway.events(), gateway.intake.outcomes) == ([], {("refused", "malformed"): 1})


async def test_the_gravest_word_counts_once(gateway: Gateway) -> None:
    """Of an image that was rejected twice; two for one reason are told together."""
    quality = key_objects("113001", {STUDY: ["1.2.3", "1.2.4", "1.2.5"]})
    image, *notes = await told(gateway, film("1.2.3"), quality, key_objects("113037", {STUDY: ["1.2.3"]}))

    for order in permutations([image, *notes]):
        (study,) = derive(order).studies
        assert [(one.code, one.images) for one in study.rejected] == [("113037", 1), ("113001", 2)]


async def test_another_patients_note_takes_nothing_back(gateway: Gateway) -> None:
    """Under the same UIDs: whose image it is, the image says."""
    image, note = await told(gateway, film("1.2.3"), key_objects("113001", {STUDY: ["1.2.3"]}, PatientID="P-9"))

    bench = Bench()
    await bench.send(image, looked_at(image, 0.97), note)
    assert [(one.patient, one.studies[0].image is None) for one in bench.assessments()] == [(image.patient, True), (image.patient, False)]
