"""FHIR R4 over HTTP: rest-hook deliveries and bundles in (R4 sections 3.1.0.8, 3.1.0.11 and 2.46.7.1), OperationOutcome out."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.adapters.fhir.message import READERS, Entry, Source, origin_of, read
from pipeline.errors import Refused, Unavailable
from pipeline.gateways.http.body import chunks
from pipeline.gateways.http.source import source
from pipeline.ports import Clock, IdentityVault
from pipeline.services.intake import Arrival, Intake
from pipeline.settings import Gateways

log = structlog.get_logger()
MEDIA_TYPES = {"application/fhir+json", "application/json"}

BODIES_HELD = 4
"""So many bodies of the largest size may be in memory at once, of however many senders."""
LARGE = 1 << 20
"""Bytes from which on bodies are read one after the other: what a body becomes takes more memory than itself."""


class FhirGateway:
    """The routes, with what they need."""

    def __init__(self, intake: Intake, vault: IdentityVault, clock: Clock, site_key: bytes, settings: Gateways) -> None:
        self._intake = intake
        self._vault = vault
        self._clock = clock
        self._site_key = site_key
        self._settings = settings
        self._held = 0
        self._large = asyncio.Semaphore(1)

    def routes(self) -> list[Route]:
        """`[base]`, `[base]/[type]`, `[base]/[type]/[id]` and the capability statement."""
        return [
            Route("/fhir/metadata", self.metadata, methods=["GET"]),
            Route("/fhir", self.receive, methods=["POST"]),
            Route("/fhir/{kind}", self.receive, methods=["POST"]),
            Route("/fhir/{kind}/{id}", self.receive, methods=["PUT"]),
        ]

    async def receive(self, request: Request) -> Response:
        """200 when Kafka has everything that was accepted; 400, 413, 415 with the reason; 503: send again."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
            return _outcome(415, "not-supported", "send application/fhir+json")
        body = bytearray()
        try:
            await self._receive(request, body)
            return await self._answer(bytes(body), self._source(request.headers))
        except Unavailable:
            log.warning("fhir_unavailable")
        except HTTPException:  # the sender stopped in the middle
            raise
        except Exception as error:  # a fault of ours: the sender keeps the message and tries again
            place = traceback.extract_tb(error.__traceback__)[-1]  # no more of it: it may quote the message
            log.error("fhir_message_failed", error=type(error).__name__, file=place.filename, line=place.lineno)
        finally:
            self._held -= len(body)
        return _outcome(503, "transient", "not stored; send again", {"Retry-After": "2"})

    async def metadata(self, _request: Request) -> Response:
        """CapabilityStatement: what is there, and nothing else."""
        resources = [{"type": kind, "interaction": [{"code": "create"}, {"code": "update"}]} for kind in READERS]
        return JSONResponse(
            {
                "resourceType": "CapabilityStatement",
                "status": "active",
                "date": "2026-11-24",
                "kind": "instance",
                "fhirVersion": "4.3.0",
                "format": ["application/fhir+json"],
                "implementation": {"description": "Readfirst intake: events in, nothing to read back"},
                "rest": [{"mode": "server", "resource": resources, "interaction": [{"code": "transaction"}, {"code": "batch"}]}],
            },
            media_type="application/fhir+json",
        )

    async def _receive(self, request: Request, body: bytearray) -> None:
        """Fills `body`, one byte beyond the limit at most, so that `read` refuses it. Raises Unavailable where others hold too much."""
        async for chunk in chunks(request):
            piece = chunk[: self._settings.fhir_body_max_bytes + 1 - len(body)]
            self._held += len(piece)
            body += piece
            if self._held > BODIES_HELD * self._settings.fhir_body_max_bytes:
                raise Unavailable("too many large bodies at once")
            if len(body) > self._settings.fhir_body_max_bytes:
                return

    def _source(self, headers: Mapping[str, str]) -> Source:
        name = source(headers, "fhir")
        said = self._settings
        zone = ZoneInfo(said.time_zones.get(name, said.default_time_zone))
        return Source(name, self._site_key, said.assigning_authority, zone, said.authorities, said.fhir_body_max_bytes)

    async def _answer(self, body: bytes, source: Source) -> Response:
        received = self._clock.now()
        loop = asyncio.get_running_loop()

        def recall(numbers: Collection[str]) -> Mapping[str, str]:
            return asyncio.run_coroutine_threadsafe(self._vault.linked(numbers), loop).result()

        try:
            async with self._large if len(body) >= LARGE else nullcontext():
                arrival, entries = await run_in_threadpool(read, body, source, received, recall)
            return _answer(await self._settle(arrival, entries, received))
        except Refused as refusal:
            await self._intake.refuse(origin_of(body, source.name), refusal.reason)
            log.info("fhir_refused", reason=refusal.reason)
            return _outcome(413 if refusal.reason == "too-large" else 400, "invalid", str(refusal))

    async def _settle(self, arrival: Arrival, entries: list[Entry], received: datetime) -> list[Entry]:
        """The entries, as they are to be answered."""
        if arrival.events:
            receipt = await self._intake.accept(arrival)
            again = receipt.received_at < received
            return [replace(each, outcome="ignored", reason="duplicate") if again and not each.reason else each for each in entries]
        if any(entry.outcome == "refused" for entry in entries):
            await self._intake.refuse(arrival.origin, "invalid")
        else:
            await self._intake.ignore(arrival.origin, next((entry.reason or "" for entry in entries), "empty bundle"))
        return entries


def _answer(entries: list[Entry]) -> Response:
    if len(entries) == 1:
        entry = entries[0]
        code = {"accepted": "informational", "ignored": "informational", "refused": "invalid"}[entry.outcome]
        return _outcome(400 if entry.outcome == "refused" else 200, code, _text(entry))
    answers = [{"response": {"status": "400" if e.outcome == "refused" else "200", "outcome": _issue(e)}} for e in entries]
    return JSONResponse({"resourceType": "Bundle", "type": "batch-response", "entry": answers}, media_type="application/fhir+json")


def _text(entry: Entry) -> str:
    return f"{entry.outcome}: {entry.resource_type}" + (f": {entry.reason}" if entry.reason else "")


def _issue(entry: Entry) -> dict[str, Any]:
    severity = "error" if entry.outcome == "refused" else "information"
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "informational", "diagnostics": _text(entry)}]}


def _outcome(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Response:
    issue = {"severity": "information" if status < 400 else "error", "code": code, "diagnostics": text}
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    return JSONResponse(body, status, headers, media_type="application/fhir+json")
