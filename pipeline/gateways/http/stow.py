"""STOW-RS (PS3.18 section 10.5): DICOM objects in a multipart request, stored one by one as they arrive."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO, cast

import structlog
from pydicom.dataset import Dataset
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.adapters.dicom.instance import sound_uid
from pipeline.errors import InvalidMessage, Unavailable
from pipeline.gateways.dicom.reception import Needs, Outcome, Reception
from pipeline.gateways.http.body import chunks
from pipeline.gateways.http.source import source
from pipeline.settings import Settings

log = structlog.get_logger()

SOURCE = "STOW-RS"
"""Stands where a C-STORE has its calling AE title; a key of `gateways.time_zones` too."""

# Failure Reason (0008,1197), PS3.18 section 10.5.3.2 by reference to PS3.4 table B.2-1 and PS3.7 annex C
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_PARTS_MAX = 10_000
_RETRY_AFTER_S = "5"


class StowGateway:
    """The routes `POST /dicom-web/studies` and `POST /dicom-web/studies/{study}`."""

    def __init__(self, settings: Settings, needs: Needs) -> None:
        # The watch for quiet studies runs in the SCP; it sees this gateway's studies too, in the same ledger.
        self._reception = Reception(settings.gateways, needs)
        self._object_max = settings.gateways.object_max_bytes
        self._requests = asyncio.Semaphore(settings.gateways.dicom_associations_max)
        self._incoming = settings.data / "incoming" / "stow"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink(missing_ok=True)

    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [
            Route("/dicom-web/studies", self.store, methods=["POST"]),
            Route("/dicom-web/studies/{study}", self.store, methods=["POST"]),
        ]

    async def store(self, request: Request) -> Response:
        """200 all stored, 202 some, 409 none, 503 none because something here is down; 400 and 415 for what is no such request."""
        boundary = _boundary(request.headers.get("content-type", ""))
        if self._requests.locked():
            raise HTTPException(503, "too many requests at once", headers={"Retry-After": _RETRY_AFTER_S})
        async with self._requests:
            results = _Results()
            sender, study = source(request.headers, SOURCE), request.path_params.get("study")
            parts = _Parts(boundary, self._incoming, self._object_max)
            try:
                async for chunk in chunks(request):
                    parts.feed(chunk)
                    await self._receive(parts, sender, study, results)
            finally:
                parts.close()
        if not parts.ended:
            raise HTTPException(400, "the multipart body has no end")
        return results.response()

    async def _receive(self, parts: _Parts, sender: str, study: str | None, results: _Results) -> None:
        for part in parts.take():
            try:
                await self._receive_part(part, sender, study, results)
            finally:
                part.path.unlink(missing_ok=True)

    async def _receive_part(self, part: _Part, sender: str, study: str | None, results: _Results) -> None:
        if part.problem is not None:
            results.failed(CANNOT_UNDERSTAND, part.problem)
            return
        try:
            results.stored.append(await self._reception.receive(part.path, sender, only_study=sound_uid(study) if study else None))
        except InvalidMessage as refusal:
            code = DOES_NOT_MATCH if refusal.reason == "wrong-key" else CANNOT_UNDERSTAND
            results.failed(code, f"{refusal.reason}: {refusal.explanation}")
        except Unavailable:
            results.failed(OUT_OF_RESOURCES, "try again later")
        except Exception:  # a fault of ours: the sender keeps the object and tries again
            log.exception("stow_instance_failed")
            results.failed(OUT_OF_RESOURCES, "internal error, try again later")


@dataclass(slots=True)
class _Part:
    path: Path
    content_type: str = ""
    size: int = 0
    problem: str | None = None


class _Parts:
    """Splits the body as it comes. Each part goes to a file; beyond the largest permitted object nothing more of it is kept."""

    def __init__(self, boundary: str, folder: Path, object_max: int) -> None:
        self.ended = False
        self._folder, self._object_max = folder, object_max
        self._finished: list[_Part] = []
        self._part: _Part | None = None
        self._file: BinaryIO | None = None
        self._header = [b"", b""]
        self._count = 0
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._collect(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._collect(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(boundary, cast(Any, callbacks))
        except FormParserError as error:
            raise HTTPException(400, "the multipart boundary is too long") from error

    def feed(self, chunk: bytes) -> None:
        """Raises HTTPException on what is no multipart body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise HTTPException(400, "the multipart body is malformed") from error

    def take(self) -> Iterator[_Part]:
        """The parts that are complete by now; their files are the caller's."""
        while self._finished:
            yield self._finished.pop(0)

    def close(self) -> None:
        """Removes what nobody took."""
        if self._file is not None:
            self._file.close()
        for part in [*self._finished, *([self._part] if self._part else [])]:
            part.path.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._count += 1
        if self._count > _PARTS_MAX:
            raise HTTPException(413, f"more than {_PARTS_MAX} instances in one request")
        file = tempfile.NamedTemporaryFile(dir=self._folder, suffix=".dcm", delete=False)  # noqa: SIM115
        self._file, self._part = cast(BinaryIO, file), _Part(Path(file.name))

    def _collect(self, which: int, piece: bytes) -> None:
        self._header[which] += piece

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if self._part is not None and name.lower() == b"content-type":
            self._part.content_type = value.decode("latin-1").partition(";")[0].strip().lower()

    def _data(self, data: bytes, start: int, end: int) -> None:
        part, file = self._part, self._file
        if part is None or file is None:
            return
        part.size += end - start
        if part.size <= self._object_max:
            file.write(data[start:end])
        else:
            part.problem = "too-large: the object is larger than this gateway accepts"

    def _end(self) -> None:
        part, file = self._part, self._file
        self._part = self._file = None
        if part is None or file is None:
            return
        file.close()
        if part.content_type not in ("", "application/dicom"):
            part.problem = "unsupported-type: the part is not application/dicom"
        self._finished.append(part)

    def _finish(self) -> None:
        self.ended = True


@dataclass(slots=True)
class _Results:
    stored: list[Outcome] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def failed(self, code: int, comment: str) -> None:
        self.failures.append((code, comment))

    def response(self) -> Response:
        headers = {}
        if self.stored:
            status = 202 if self.failures else 200
        elif any(code == OUT_OF_RESOURCES for code, _ in self.failures):
            status, headers = 503, {"Retry-After": _RETRY_AFTER_S}
        else:
            status = 409 if self.failures else 400
        return JSONResponse(self._document().to_json_dict(), status, headers, media_type="application/dicom+json")

    def _document(self) -> Dataset:
        """The Store Instances Response Module (PS3.18 table I.1-1 of the store transaction), plus Error Comment where we have one."""
        document = Dataset()
        if self.stored:
            document.ReferencedSOPSequence = [_stored(outcome) for outcome in self.stored]
        if self.failures:
            document.FailedSOPSequence = [_failure(code, comment) for code, comment in self.failures]
        return document


def _stored(outcome: Outcome) -> Dataset:
    item = Dataset()
    if outcome.sop_class:
        item.ReferencedSOPClassUID = outcome.sop_class
    if outcome.sop_uid:
        item.ReferencedSOPInstanceUID = outcome.sop_uid
    item.RetrieveURL = None  # type 2: nothing is given back from here
    if outcome.reason is not None:
        item.ErrorComment = f"{outcome.outcome}: {outcome.reason}"
    return item


def _failure(code: int, comment: str) -> Dataset:
    item = Dataset()
    item.FailureReason = code
    item.ErrorComment = comment[:64]
    return item


def _boundary(content_type: str) -> str:
    """Of `multipart/related; type="application/dicom"; boundary=…`. Raises HTTPException."""
    header = Message()
    header["content-type"] = content_type
    kind = str(header.get_param("type", "application/dicom")).lower()
    if header.get_content_type() != "multipart/related" or kind != "application/dicom":
        raise HTTPException(415, 'send multipart/related; type="application/dicom"')
    boundary = header.get_boundary()
    if not boundary:
        raise HTTPException(400, "the content type names no boundary")
    return boundary
