"""STOW-RS: multipart in, a result for each instance out."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.uid import MediaStorageDirectoryStorage
from starlette.applications import Starlette

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.objects import MemoryObjectStore
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.study_ledger import MemoryStudyLedger
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.gateways.dicom.reception import Needs
from pipeline.gateways.http.stow import StowGateway
from pipeline.services.intake import Intake
from pipeline.settings import Gateways, Settings
from schemas.events import ImagingEvent, Rejection
from schemas.topics import IMAGING
from tests.dicom_objects import as_file, ct, deflated, key_objects

TYPE = 'multipart/related; type="application/dicom"; boundary=b0'
STUDY = "1.2.826.0.1.3680043.10.1"


class Site:
    """The route, with in-memory twins behind it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.clock, self.log, self.objects = ManualClock(), MemoryEventLog(), MemoryObjectStore()
        self.vault, self.folder = MemoryVault(self.clock), folder
        self.intake = Intake(self.log, MemoryReceipts(), self.vault, self.clock)
        settings = Settings(data=folder, gateways=Gateways(**options))
        gateway = StowGateway(settings, Needs(self.intake, self.objects, self.vault, MemoryStudyLedger(), b"k" * 32, self.clock))
        transport = httpx.ASGITransport(Starlette(routes=gateway.routes()))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://readfirst")

    async def post(
        self, *objects: bytes, study: str = "", kind: str = "application/dicom", end: bytes = b"--b0--\r\n", **headers: str
    ) -> httpx.Response:
        """A store request."""
        parts = [b"--b0\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + one + b"\r\n" for one in objects]
        path = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
        return await self.http.post(path, content=b"".join(parts) + end, headers={"content-type": TYPE, **headers})

    def events(self) -> list[ImagingEvent]:
        """What is in the topic imaging."""
        return self.log.documents(IMAGING)

    def leftovers(self) -> list[Path]:
        """Files of parts that are still there."""
        return list((self.folder / "incoming" / "stow").iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The route."""
    return Site(tmp_path)


def failures(response: httpx.Response) -> list[tuple[int, str]]:
    """(Failure Reason, Error Comment) of each failed instance."""
    items = response.json().get("00081198", {}).get("Value", [])
    return [(item["00081197"]["Value"][0], item["00000902"]["Value"][0]) for item in items]


async def test_each_sender_has_its_own_zone(tmp_path: Path) -> None:
    """By the header in which it names itself: the same clock face is another moment."""
    site = Site(tmp_path, default_time_zone="Europe/Berlin", time_zones={"boston": "America/New_York"})
    await site.post(as_file(ct(StudyTime="101530")), **{"X-Readfirst-Source": "boston"})  # type: ignore[arg-type]
    await site.post(as_file(ct(StudyTime="101530")))

    assert [(event.source, event.acquired.utc.hour) for event in site.events()] == [("boston", 15), ("STOW-RS", 9)]


async def test_all_stored(site: Site) -> None:
    """200, a reference for each, the events in the log, no file left."""
    response = await site.post(as_file(ct()), deflated(ct()))
    references = response.json()["00081199"]["Value"]

    assert (response.status_code, response.headers["content-type"]) == (200, "application/dicom+json")
    assert {item["00081155"]["Value"][0] for item in references} == {event.sop_uid for event in site.events()}
    assert [event.source for event in site.events()] == ["STOW-RS", "STOW-RS"]
    assert site.leftovers() == []


async def test_some_stored(site: Site) -> None:
    """202 tells which failed and why."""
    response = await site.post(as_file(ct()), b"%PDF-1.7", as_file(ct(Rows=4000, Columns=4000)))

    assert response.status_code == 202
    assert [code for code, _ in failures(response)] == [0xC000, 0xC000]
    assert failures(response)[0][1].startswith("malformed: not a DICOM file")
    assert len(site.events()) == 1


async def test_none_stored(site: Site) -> None:
    """409."""
    response = await site.post(b"nothing", kind="application/dicom")

    assert response.status_code == 409
    assert site.leftovers() == []


async def test_wrong_study(site: Site) -> None:
    """An instance of another study than the one posted to fails with A900; the right one is stored."""
    assert (await site.post(as_file(ct()), study=STUDY)).status_code == 200
    response = await site.post(as_file(ct()), study="1.2.3")

    assert (response.status_code, failures(response)[0][0]) == (409, 0xA900)


async def test_part_of_another_type(site: Site) -> None:
    """A part that says it is something else is not guessed at."""
    response = await site.post(as_file(ct()), kind="text/html")

    assert response.status_code == 409
    assert failures(response)[0][1].startswith("unsupported-type")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("", 415),
        ('multipart/related; type="application/dicom+xml"; boundary=b0', 415),
        ("multipart/form-data; boundary=b0", 415),
        ('multipart/related; type="application/dicom"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"x" * 400}', 400),
    ],
)
async def test_requests_that_are_none(site: Site, content_type: str, status: int) -> None:
    """415 and 400."""
    response = await site.http.post("/dicom-web/studies", content=b"--b0--", headers={"content-type": content_type})

    assert response.status_code == status


@pytest.mark.parametrize("end", [b"", b"--b0\r\nContent-Type: application/dicom\r\n\r\nDICM cut"])
async def test_a_body_without_end(site: Site, end: bytes) -> None:
    """400, and no half object is stored."""
    response = await site.post(end=end)

    assert response.status_code == 400
    assert (site.events(), site.leftovers()) == ([], [])


async def test_malformed_body(site: Site) -> None:
    """What does not begin with the boundary is 400."""
    response = await site.http.post("/dicom-web/studies", content=b"hello", headers={"content-type": TYPE})

    assert response.status_code == 400


@pytest.mark.parametrize("broken", ["log", "objects"])
async def test_unavailable(site: Site, broken: str) -> None:
    """503 with Retry-After; the resend is applied once."""
    (site.log if broken == "log" else site.objects).fail_next()
    content = as_file(ct())
    first, second = await site.post(content), await site.post(content)

    assert (first.status_code, "retry-after" in first.headers, second.status_code) == (503, True, 200)
    assert len(site.events()) == 1


async def test_duplicate_and_dicomdir_are_ignored(site: Site) -> None:
    """Both are no failure, and say that they had no effect."""
    content = as_file(ct())
    await site.post(content)
    site.clock.advance(site.clock.now().resolution)
    response = await site.post(content, as_file(ct(SOPClassUID=MediaStorageDirectoryStorage)))

    assert response.status_code == 200
    assert [item["00000902"]["Value"][0] for item in response.json()["00081199"]["Value"]] == ["ignored: duplicate", "ignored: dicomdir"]
    assert len(site.events()) == 1


async def test_rejection_notes(site: Site) -> None:
    """As by C-STORE: read, refused with a reason, or without effect."""
    notes = [("113001", {STUDY: ["1.2.3"]}), ("113001", {}), ("113039", {STUDY: ["1.2.3"]})]
    response = await site.post(*(as_file(key_objects(code, named)) for code, named in notes))
    stored = response.json()["00081199"]["Value"]

    assert [event.rejection for event in site.events()] == [Rejection(code="113001", instances=("1.2.3",))]
    assert (response.status_code, [code for code, _ in failures(response)]) == (202, [0xC000])
    assert failures(response)[0][1].startswith("malformed: the rejection note")
    assert [item.get("00000902", {}).get("Value") for item in stored] == [None, ["ignored: retention-expired"]]


async def test_too_large(tmp_path: Path) -> None:
    """An object beyond the limit fails alone; what comes after it is stored."""
    site = Site(tmp_path, object_max_bytes=20_000)
    response = await site.post(as_file(ct(PixelData=bytes(40_000))), as_file(ct()))

    assert response.status_code == 202
    assert failures(response)[0][1].startswith("too-large")
    assert len(site.events()) == 1


async def test_streams_in_bounded_pieces(site: Site) -> None:
    """A body in odd pieces, boundaries cut anywhere, is the same body."""
    body = b"".join(b"--b0\r\nContent-Type: application/dicom\r\n\r\n" + as_file(ct()) + b"\r\n" for _ in range(3)) + b"--b0--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for place in range(0, len(body), 7):
            yield body[place : place + 7]

    response = await site.http.post("/dicom-web/studies", content=pieces(), headers={"content-type": TYPE})

    assert (response.status_code, len(site.events())) == (200, 3)


async def test_preamble_is_cleaned(site: Site) -> None:
    """A program in the preamble does not reach the object store; TIFF's is kept."""
    content = as_file(ct())
    await site.post(b"MZ" + b"\x90" * 126 + content[128:], b"II*\0" + b"\1" * 124 + as_file(ct())[128:])
    stored = sorted(body[:4] for body in site.objects._objects.values())

    assert stored == [bytes(4), b"II*\0"]


async def test_file_meta_information_makes_no_other_object(site: Site) -> None:
    """The same data set, written to a file by another application, is the same object again: PS3.10 section 7.1 is about the file."""
    dataset = ct()
    dataset_bytes = as_file(dataset)
    other = pydicom.dcmread(io.BytesIO(dataset_bytes))
    other.file_meta.ImplementationVersionName = "ANOTHER_1"
    other.file_meta.SourceApplicationEntityTitle = "MODALITY1"
    written = io.BytesIO()
    pydicom.dcmwrite(written, other)
    answers = [await site.post(body) for body in (dataset_bytes, written.getvalue())]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [event.conflict for event in site.events()] == [False]
    assert pydicom.dcmread(io.BytesIO(next(iter(site.objects._objects.values())))) == pydicom.dcmread(io.BytesIO(dataset_bytes))


async def test_every_development_file(site: Site, shared_data: Path) -> None:
    """Each file ends as stored or failed with a reason."""
    for path in sorted((shared_data / "dicom-dev").rglob("*.dcm")):
        response = await site.post(path.read_bytes())
        assert response.status_code in (200, 409), path.name
        assert response.status_code == 200 or all(comment for _, comment in failures(response))
