"""FHIR R4 over HTTP: rest-hook deliveries and bundles in (R4 sections 3.1.0.8, 3.1.0.11 and 2.46.7.1), OperationOutcome out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.adapters.fhir.message import Entry, Source, origin_of, read
from pipeline.adapters.fhir.resources import READERS
from pipeline.errors import Refused, Unavailable
from pipeline.ports import Clock
from pipeline.services.intake import Arrival, Intake
from pipeline.settings import Gateways

log = structlog.get_logger()
MEDIA_TYPES = {"application/fhir+json", "application/json"}
SOURCE_HEADER = "x-readfirst-source"


class FhirGateway:
    """The routes, with what they need."""

    def __init__(self, intake: Intake, clock: Clock, site_key: bytes, settings: Gateways) -> None:
        self._intake = intake
        self._clock = clock
        self._site_key = site_key
        self._settings = settings

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
        try:
            return await self._answer(await self._body(request), self._source(request.headers))
        except Refused as refusal:
            log.info("fhir_refused", reason=refusal.reason)
            return _outcome(413 if refusal.reason == "too-large" else 400, "invalid", str(refusal))
        except Unavailable:
            log.warning("fhir_unavailable")
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

    async def _body(self, request: Request) -> bytes:
        received = bytearray()
        try:
            async for chunk in request.stream():
                received += chunk
                if len(received) > self._settings.fhir_body_max_bytes:
                    raise Refused("too-large", f"a request body holds at most {self._settings.fhir_body_max_bytes} bytes")
        except ClientDisconnect as error:
            raise Refused("malformed", "the sender closed the connection before the end of the body") from error
        return bytes(received)

    def _source(self, headers: Mapping[str, str]) -> Source:
        name = headers.get(SOURCE_HEADER, "fhir")[:64]
        zone = ZoneInfo(self._settings.time_zones.get(name, self._settings.default_time_zone))
        return Source(name, self._site_key, self._settings.assigning_authority, zone, self._settings.authorities)

    async def _answer(self, body: bytes, source: Source) -> Response:
        try:
            arrival, entries = await run_in_threadpool(read, body, source, self._clock.now())
            await self._settle(arrival, entries)
        except Refused as refusal:
            await self._intake.refuse(origin_of(body, source.name), refusal.reason)
            raise
        return _answer(entries)

    async def _settle(self, arrival: Arrival, entries: list[Entry]) -> None:
        if arrival.events:
            await self._intake.accept(arrival)
        elif any(entry.outcome == "refused" for entry in entries):
            await self._intake.refuse(arrival.origin, "invalid")
        else:
            await self._intake.ignore(arrival.origin, next((entry.reason or "" for entry in entries), "empty bundle"))


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
