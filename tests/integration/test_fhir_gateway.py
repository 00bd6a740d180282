"""The FHIR routes over HTTP: answers, receipts, limits, and what happens when a store is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.applications import Starlette

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.gateways.http import fhir
from pipeline.gateways.http.fhir import FhirGateway
from pipeline.ports import Received
from pipeline.services.intake import Intake
from pipeline.settings import Gateways
from schemas import codec
from schemas.identifiers import UNMATCHED, patient_key
from schemas.topics import ADT, LABS

OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
    "subject": {"reference": "Patient/p1"},
    "valueQuantity": {"value": 6.8, "code": "mmol/L"},
}


@dataclass
class Bench:
    """A gateway on in-memory stores, and a client of it."""

    client: httpx.AsyncClient
    log: MemoryEventLog
    receipts: MemoryReceipts
    clock: ManualClock
    gateway: FhirGateway

    def sent(self) -> list[Received]:
        """What stands on the topic of laboratory results."""
        return [record for partition in range(8) for record in self.log.received(LABS, partition)]

    async def post(
        self, body: object, path: str = "/fhir/Observation", content_type: str = "application/fhir+json", **headers: str
    ) -> httpx.Response:
        """Bytes go out as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, headers={"content-type": content_type, **headers})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A fresh gateway."""
    log, receipts, clock = MemoryEventLog(), MemoryReceipts(), ManualClock()
    vault = MemoryVault(clock)
    settings = Gateways(fhir_body_max_bytes=100_000, time_zones={"boston": "America/New_York"})
    gateway = FhirGateway(Intake(log, receipts, vault, clock), vault, clock, b"k" * 32, settings)
    transport = httpx.ASGITransport(Starlette(routes=gateway.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Bench(client, log, receipts, clock, gateway)


async def test_an_accepted_resource_is_on_its_topic_before_the_answer(bench: Bench) -> None:
    """200 means that Kafka has it and the receipt is noted."""
    response = await bench.post(OBSERVATION)

    assert response.status_code == 200
    assert response.json()["issue"][0]["diagnostics"].startswith("accepted")
    assert len(bench.sent()) == 1


async def test_the_same_body_again_is_acknowledged_and_not_sent_again(bench: Bench) -> None:
    """A rest-hook that was delivered twice counts once, and the second time the answer says so."""
    first = await bench.post(OBSERVATION)
    bench.clock.advance(timedelta(seconds=1))
    second = await bench.post(OBSERVATION)

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json()["issue"][0]["diagnostics"] == "ignored: Observation: duplicate"
    assert len(bench.sent()) == 1


async def test_each_source_has_its_own_zone(bench: Bench) -> None:
    """By the header in which it names itself: the same day begins at another moment."""
    for source in ("boston", "berlin"):
        response = await bench.post({**OBSERVATION, "effectiveDateTime": "2026-03-01"}, **{"X-Readfirst-Source": source})
        assert response.status_code == 200

    told = {event.source: event.observations[0].effective.utc for event in bench.log.documents(LABS)}
    assert told == {"boston": datetime(2026, 3, 1, 5, tzinfo=UTC), "berlin": datetime(2026, 2, 28, 23, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(b"{", "application/fhir+json", 400), (b" " * 200_000, "application/json", 413), (b"<a/>", "application/fhir+xml", 415)],
)
async def test_what_cannot_be_read_is_refused_with_a_reason(bench: Bench, body: bytes, content_type: str, status: int) -> None:
    """An OperationOutcome says why."""
    response = await bench.post(body, content_type=content_type)

    assert status == response.status_code
    assert response.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(("body", "reason"), [(b"{", "malformed"), (b" " * 200_000, "too-large")])
async def test_a_refused_body_leaves_a_receipt(bench: Bench, body: bytes, reason: str) -> None:
    """Nothing that was answered is missing in the books."""
    await bench.post(body)

    assert [(receipt.outcome, receipt.reason) for receipt in bench.receipts.closed.values()] == [("refused", reason)]


async def test_a_reference_to_an_earlier_message_finds_its_patient(bench: Bench) -> None:
    """As rest-hooks come, one resource each: whether the patient is known before or after, the value reaches the record number's key."""
    patient = {"resourceType": "Patient", "id": "p1", "identifier": [{"value": "4711"}]}
    await bench.post(OBSERVATION)
    await bench.post(patient, "/fhir/Patient")
    await bench.post({**OBSERVATION, "id": "later"})

    key = patient_key(b"k" * 32, Gateways().assigning_authority, "4711")
    before, after = sorted((record.key.decode() for record in bench.sent()), key=lambda each: each == key)
    merges = [codec.decode(ADT, record.body) for partition in range(8) for record in bench.log.received(ADT, partition)]
    assert before.startswith(UNMATCHED)
    assert after == key
    assert {(each.retired, each.survivor) for each in merges if each.kind == "merge"} == {(before, key)}


async def test_large_bodies_are_held_within_bounds(bench: Bench) -> None:
    """Four senders that never end their large bodies: a fifth is told to come again; when they are gone there is room."""
    hold = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b" " * 99_000
        await hold.wait()

    async def begin() -> None:
        await bench.client.post("/fhir", content=endless(), headers={"content-type": "application/json"})

    held = [asyncio.create_task(begin()) for _ in range(4)]
    await asyncio.sleep(0.05)
    crowded = await bench.post(b" " * 99_000)
    small = await bench.post(OBSERVATION)
    hold.set()
    await asyncio.gather(*held)

    assert (crowded.status_code, small.status_code) == (503, 200)
    assert (await bench.post(b" " * 99_000)).status_code == 400


async def test_a_fault_of_ours_is_neither_success_nor_the_senders(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside: send again, and the gateway lives."""
    monkeypatch.setattr(fhir, "read", lambda *_: 1 / 0)
    broken = await bench.post(OBSERVATION)
    monkeypatch.undo()

    assert (broken.status_code, broken.json()["resourceType"]) == (503, "OperationOutcome")
    assert (await bench.post(OBSERVATION)).status_code == 200


async def test_a_log_that_is_away_means_send_again(bench: Bench) -> None:
    """503 before Kafka has it; the next try is accepted and marked as a possible redelivery."""
    bench.log.fail_next()
    away, back = await bench.post(OBSERVATION), await bench.post(OBSERVATION)

    assert (away.status_code, back.status_code) == (503, 200)
    assert [record.headers.get("redelivery") for record in bench.sent()] == ["1"]


async def test_the_capability_statement_lists_what_is_there(bench: Bench) -> None:
    """And nothing else."""
    statement = (await bench.client.get("/fhir/metadata")).json()

    assert {"Patient", "Observation", "ServiceRequest", "ImagingStudy", "DiagnosticReport", "Encounter", "Appointment"} == {
        resource["type"] for resource in statement["rest"][0]["resource"]
    }
