"""The picture stage: one finding for each picture of a head's kind, by the first model that answers, whatever the picture is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.domain.image_answer import HeadFinding, HeadReference
from pipeline.domain.image_heads import Scope
from pipeline.errors import NotFound, Unavailable, UnfitPicture
from pipeline.ports import Looked, Picture, Received
from pipeline.services.batch import Done, Partly
from pipeline.services.pictures import PASSED_OVER_FOR, InstalledHead, PictureStage
from schemas import codec
from schemas.events import FindingEvent, ImagingEvent
from schemas.time import Timestamp
from schemas.topics import FINDINGS, IMAGING
from tests.store_fixtures import batch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFERENCE = HeadReference(
    head="chest_frontal",
    version="1",
    side=8,
    expects="a chest film",
    findings=(HeadFinding(code="pneumonia", label="pneumonia", prevalence=0.5, ranks=True),),
    sha256="",
    scope=Scope(modalities=("CR", "DX"), body_parts=("CHEST", None), views=("AP", "PA", None)),
)


class FakeReader:
    def __init__(self, clock: ManualClock) -> None:
        self.read_uris: list[str] = []
        self.clock, self.takes = clock, timedelta(0)

    async def read(self, uri: str, side: int) -> Picture:
        self.read_uris.append(uri)
        self.clock.advance(self.takes)
        if "bad" in uri:
            raise UnfitPicture("colour", "in colour")
        return np.zeros((side, side), np.uint8)


class FakeModel:
    def __init__(self, answer: Looked) -> None:
        self.answer, self.down, self.asked = answer, False, 0

    async def look(self, pictures: Sequence[Picture]) -> Sequence[Looked]:
        self.asked += 1
        if self.down:
            raise Unavailable("down (ordered by the test)")
        return [self.answer for _ in pictures]


class World:
    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.log, self.reader = MemoryEventLog(), FakeReader(self.clock)
        self.triton, self.local = FakeModel(Looked("1", (0.8,), 0.5)), FakeModel(Looked("1", (0.7,), 0.5))
        self.served, self.versions = "1", {"1": REFERENCE}
        head = InstalledHead(self.reference, [("triton", self.triton), ("onnxruntime", self.local)])
        self.stage = PictureStage(MemoryOffsets(), self.log, self.reader, {"chest_frontal": head}, self.clock, "pictures")

    def reference(self, version: str | None) -> HeadReference:
        if (version or self.served) not in self.versions:
            raise NotFound(f"there is no version {version}")
        return self.versions[version or self.served]

    async def handle(self, *records: Received) -> Any:
        [outcome] = await self.stage.handle([batch(records)])
        return outcome

    @property
    def findings(self) -> list[FindingEvent]:
        return self.log.documents(FINDINGS)


def told(offset: int, uri: str | None = "object:1/2/3", **said: Any) -> Received:
    event = ImagingEvent(
        event_id=f"e{uri}{said}",
        patient="p",
        source="GATE",
        recorded_at=NOW,
        study_uid="1",
        acquired=Timestamp(utc=NOW),
        uri=uri,
        **{"modality": "DX", "body_part": "CHEST", "view": "AP", **said},
    )
    return Received(IMAGING, 0, offset, b"p", codec.encode(event), {"trace_id": "t"})


async def test_a_film_is_looked_at_once_by_the_first_choice() -> None:
    """Told of twice, read once; the finding has the same id both times, and is marked as a possible redelivery."""
    world = World()
    assert await world.handle(told(0), told(1)) == Done(2)
    await world.handle(told(2))
    assert len(world.reader.read_uris) == 1 and world.triton.asked == 1 and world.local.asked == 0
    assert len({finding.event_id for finding in world.findings}) == 1
    assert world.findings[0].image.findings[0].probability == 0.8 and world.findings[0].image.scorer == "triton"
    assert world.log.records(FINDINGS)[0].headers["redelivery"] == "1"


async def test_many_films_are_as_many_transactions() -> None:
    """Each of them short: what it has looked at is kept, whatever ends it, and what is no film before the break is counted once."""
    world = World()
    world.reader.takes = timedelta(seconds=4)
    records = [told(number, f"object:{number}" if number % 2 else None) for number in range(20)]

    outcomes = [await world.handle(*records) for _ in range(4)]

    assert outcomes == [Partly(7), Partly(13), Partly(19), Done(1)]
    assert world.reader.read_uris == [f"object:{number}" for number in range(1, 20, 2)]
    assert (len(world.findings), world.stage.applied["looked"], world.stage.ignored["no-picture"]) == (10, 10, 10)


async def test_a_film_that_takes_longer_than_a_transaction_is_looked_at_all_the_same() -> None:
    """One after the other."""
    world = World()
    world.reader.takes = timedelta(seconds=30)

    assert [await world.handle(told(0, "object:a"), told(1, "object:b")) for _ in range(2)] == [Partly(1), Done(1)]
    assert len(world.findings) == 2


async def test_what_no_head_is_for_passes() -> None:
    """CT, a lateral film, a completion, a record without pixels, bytes that are no event: nothing is said, nothing stops."""
    world = World()
    broken = Received(IMAGING, 0, 4, b"p", b"{", {})
    outcome = await world.handle(told(0, modality="CT"), told(1, view="LL"), told(2, uri=None), told(3, kind="complete"), broken)
    assert outcome == Done(5) and world.findings == [] and world.reader.read_uris == []


async def test_an_unfit_picture_is_told_with_its_reason_and_leaves_the_others_alone() -> None:
    """One refusal, one answer."""
    world = World()
    await world.handle(told(0, uri="object:bad/2/3"), told(1), told(2, uri="object:big/2/3", size=1 << 40))
    said = {finding.uri: finding.image for finding in world.findings}
    assert said["object:bad/2/3"].refused == "colour" and said["object:bad/2/3"].explanation == "in colour"
    assert said["object:big/2/3"].refused == "too-large"
    assert said["object:1/2/3"].refused is None


async def test_without_triton_the_model_in_this_process_looks() -> None:
    """And says so; numbers that are no answer count as none."""
    world = World()
    world.triton.down = True
    await world.handle(told(0))
    world.triton.down, world.triton.answer = False, Looked("1", (float("nan"),), 0.5)
    world.clock.advance(PASSED_OVER_FOR)
    await world.handle(told(1, uri="object:1/2/4"))
    assert world.triton.asked == 2
    assert [finding.image.scorer for finding in world.findings] == ["onnxruntime", "onnxruntime"]


async def test_a_server_that_did_not_look_is_not_waited_for_again_at_once() -> None:
    """A server that hangs costs a picture its time limit: one picture in half a minute, not all."""
    world = World()
    world.triton.down = True
    await world.handle(told(0))
    world.clock.advance(PASSED_OVER_FOR / 2)
    await world.handle(told(1, uri="object:1/2/4"))
    assert world.triton.asked == 1
    world.triton.down = False
    world.clock.advance(PASSED_OVER_FOR)
    await world.handle(told(2, uri="object:1/2/5"))
    assert [finding.image.scorer for finding in world.findings] == ["onnxruntime", "onnxruntime", "triton"]


async def test_without_any_model_the_pictures_come_again() -> None:
    """Nothing is said and no offset moves: unknown is not normal, and nothing is lost."""
    world = World()
    world.triton.down = world.local.down = True
    with pytest.raises(Unavailable):
        await world.handle(told(0))
    assert world.findings == []
    world.triton.down = False
    world.clock.advance(PASSED_OVER_FOR)
    assert await world.handle(told(0)) == Done(1)
    assert len(world.findings) == 1


async def test_a_promoted_version_looks_at_the_same_picture_anew() -> None:
    """While Triton still answers with the old version the finding names that one; the new one's finding is another event."""
    world = World()
    await world.handle(told(0))
    world.versions["2"] = msgspec.structs.replace(
        REFERENCE, version="2", findings=(HeadFinding(code="pneumonia", label="pneumonia", prevalence=0.1, ranks=True),)
    )
    world.served = "2"
    await world.handle(told(1, uri="object:1/2/4"))
    world.triton.answer = Looked("2", (0.6,), 0.5)
    await world.handle(told(2))

    said = [(finding.image.version, finding.image.findings[0].prevalence) for finding in world.findings]
    assert said == [("1", 0.5), ("1", 0.5), ("2", 0.1)]
    assert len({finding.event_id for finding in world.findings}) == 3


async def test_an_answer_by_a_version_that_is_not_known_here_is_none() -> None:
    """What its numbers mean is not known: the model in this process is asked."""
    world = World()
    world.triton.answer = Looked("9", (0.6,), 0.5)
    await world.handle(told(0))

    assert [(finding.image.version, finding.image.scorer) for finding in world.findings] == [("1", "onnxruntime")]
