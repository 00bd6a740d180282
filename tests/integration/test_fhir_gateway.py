"""The FHIR routes over HTTP: answers, receipts, limits, and what happens when a store is away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from starlette.applications import Starlette

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.gateways.http.fhir import FhirGateway
from pipeline.ports import Received
from pipeline.services.intake import Intake
from pipeline.settings import Gateways
from schemas.topics import LABS

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

    def sent(self) -> list[Received]:
        """What stands on the topic of laboratory results."""
        return [record for partition in range(8) for record in self.log.received(LABS, partition)]

    async def post(self, body: object, path: str = "/fhir/Observation", content_type: str = "application/fhir+json") -> httpx.Response:
        """Bytes go out as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, headers={"content-type": content_type})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A fresh gateway."""
    log, receipts, clock = MemoryEventLog(), MemoryReceipts(), ManualClock()
    gateway = FhirGateway(Intake(log, receipts, MemoryVault(clock), clock), clock, b"k" * 32, Gateways(fhir_body_max_bytes=100_000))
    transport = httpx.ASGITransport(Starlette(routes=gateway.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Bench(client, log, receipts)


async def test_an_accepted_resource_is_on_its_topic_before_the_answer(bench: Bench) -> None:
    """200 means that Kafka has it and the receipt is noted."""
    response = await bench.post(OBSERVATION)

    assert response.status_code == 200
    assert response.json()["issue"][0]["diagnostics"].startswith("accepted")
    assert len(bench.sent()) == 1


async def test_the_same_body_again_is_acknowledged_and_not_sent_again(bench: Bench) -> None:
    """A rest-hook that was delivered twice counts once."""
    first, second = await bench.post(OBSERVATION), await bench.post(OBSERVATION)

    assert (first.status_code, second.status_code) == (200, 200)
    assert len(bench.sent()) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(b"{", "application/fhir+json", 400), (b" " * 200_000, "application/json", 413), (b"<a/>", "application/fhir+xml", 415)],
)
async def test_what_cannot_be_read_is_refused_with_a_reason(bench: Bench, body: bytes, content_type: str, status: int) -> None:
    """An OperationOutcome says why."""
    response = await bench.post(body, content_type=content_type)

    assert status == response.status_code
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_a_refused_body_leaves_a_receipt(bench: Bench) -> None:
    """Nothing that was answered is missing in the books."""
    await bench.post(b"{")

    assert [receipt.outcome for receipt in bench.receipts.closed.values()] == ["refused"]


async def test_a_log_that_is_away_means_send_again(bench: Bench) -> None:
    """503 before Kafka has it; the next try is accepted and marked as a possible redelivery."""
    bench.log.fail_next()
    away, back = await bench.post(OBSERVATION), await bench.post(OBSERVATION)

    assert (away.status_code, back.status_code) == (503, 200)
    assert [record.headers.get("redelivery") for record in bench.sent()] == ["1"]


async def test_the_capability_statement_lists_what_is_there(bench: Bench) -> None:
    """And nothing else."""
    statement = (await bench.client.get("/fhir/metadata")).json()

    assert {"Patient", "Observation", "ServiceRequest", "ImagingStudy", "DiagnosticReport", "Encounter"} == {
        resource["type"] for resource in statement["rest"][0]["resource"]
    }
