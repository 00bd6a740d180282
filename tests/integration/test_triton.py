"""The scoring stage against a real Triton: same numbers as in-process, priorities taken, and back on its feet after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tritonclient.grpc.aio import InferenceServerClient

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.local import triton_environment
from pipeline.adapters.local.network import reserved
from pipeline.adapters.local.process import Child, wait_until_ready
from pipeline.adapters.local.triton import TritonPorts, TritonServer
from pipeline.adapters.local.triton_environment import TritonUnavailable
from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.pictures import OnnxImageModel
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.triton.pictures import TritonImageModel
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.domain import features
from pipeline.domain.readings import Reading
from pipeline.models.imaging import acceptance
from pipeline.models.serving import build_repository
from pipeline.ports import Received
from pipeline.services.batch import Done
from pipeline.services.scoring import ScoringStage
from schemas import codec
from schemas.assessments import AssessRequest
from schemas.topics import ASSESS, ASSESSMENTS
from tests.integration.test_tracing import ONE, started
from tests.store_fixtures import batch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def request(number: int, version: int = 1) -> AssessRequest:
    readings = {
        "lactate": [Reading(NOW - timedelta(hours=hours), 1 + number / 7 + hours) for hours in (3, 2, 1)],
        "gcs": [Reading(NOW, 3 + number % 13)],
    }
    return AssessRequest(
        event_id=f"{number}-{version}",
        patient=f"p{number}",
        context_version=version,
        as_of=NOW,
        recorded_at=NOW,
        urgency=1 + number % 3,
        studies=[],
        features=features.extract(readings, NOW, 20.0 + number, "M"),
    )


def received(offset: int, document: AssessRequest) -> Received:
    return Received(ASSESS, 0, offset, document.patient.encode(), codec.encode(document))


async def test_triton_and_this_process_agree(triton_server: str) -> None:
    """The same file behind both: probabilities and contributions to 1e-4."""
    asked = [request(number) for number in range(80)]
    served = TritonScorer(triton_server, "clinical_risk", 60, SystemClock())
    try:
        theirs = await served.score(asked)
    finally:
        await served.close()
    ours = await OnnxScorer(SystemClock()).score(asked)

    assert [risk.probability for risk in theirs] == pytest.approx([risk.probability for risk in ours], abs=1e-4)
    for mine, other in zip(ours, theirs, strict=True):
        known = {contribution.feature: contribution.change for contribution in mine.contributions}
        assert all(contribution.change == pytest.approx(known[contribution.feature], abs=1e-4) for contribution in other.contributions)


@pytest.mark.parametrize("head", heads.names())
async def test_triton_and_this_process_see_the_same(triton_server: str, head: str) -> None:
    """The same file behind both: probabilities to 1e-4, unlikeness and activation to 1e-3."""
    pictures = list(acceptance.pictures(heads.load_reference(head).side))
    served = TritonImageModel(triton_server, head, 120)
    try:
        theirs = await served.look(pictures)
    finally:
        await served.close()
    ours = await OnnxImageModel(lambda: heads.HEADS / head).look(pictures)

    assert len(theirs) == len(ours) == len(pictures)
    for mine, other in zip(ours, theirs, strict=True):
        assert other.version == mine.version
        assert other.probabilities == pytest.approx(mine.probabilities, abs=1e-4)
        assert other.unlikeness == pytest.approx(mine.unlikeness, abs=1e-3)
        assert len(mine.spreads) == len(mine.probabilities) and other.spreads == pytest.approx(mine.spreads, abs=1e-4)
        assert np.abs(np.array(other.activations) - np.array(mine.activations)).max() < 1e-3
    assert len({one.probabilities for one in theirs}) == len(pictures)


async def test_triton_took_the_configuration(triton_server: str) -> None:
    """Priorities and queue policy as built, warmed up, and requests of several clients batched together."""
    client = InferenceServerClient(triton_server)
    served = TritonScorer(triton_server, "clinical_risk", 60, SystemClock())
    try:
        config = (await client.get_model_config("clinical_risk")).config
        before = (await client.get_inference_statistics("clinical_risk")).model_stats[0]
        await asyncio.gather(*(served.score([request(number)]) for number in range(60)))
        after = (await client.get_inference_statistics("clinical_risk")).model_stats[0]
    finally:
        await served.close()
        await client.close()

    assert config.dynamic_batching.priority_levels == 3
    assert config.dynamic_batching.default_queue_policy.allow_timeout_override
    assert after.inference_count - before.inference_count == 60
    assert after.execution_count - before.execution_count < 60


@pytest.fixture
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A local OTLP receiver: its address, and the spans that it was sent as JSON."""
    spans: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(span for resource in sent["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/v1/traces", spans
    http.shutdown()


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """For a Triton of a test's own."""
    with reserved(3) as found:
        yield found


async def test_a_killed_triton_leaves_the_list_and_comes_back(
    tmp_path: Path, ports: list[int], collector: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is dead the in-process model answers, marked; once it is back, all of those are scored again by it.

    Of a message that is traced, and of no other, it sends spans of its own: they hang below the request's.
    """
    (address, spans), exporter = collector, InMemorySpanExporter()
    tracing = started(exporter)
    monkeypatch.setattr("pipeline.adapters.triton.scorer.TRACING", tracing)
    server = _server(tmp_path, TritonPorts(*ports), address)
    server.prepare(lambda part, what: None)
    log, clock = MemoryEventLog(), SystemClock()
    served = TritonScorer(server.url, "clinical_risk", 30.0, clock)
    stage = ScoringStage(MemoryOffsets(), MemoryDegradedScores(), log, served, OnnxScorer(clock), clock, "g")
    child = _start(server)
    try:
        assert await stage.handle([batch([received(0, request(0))])]) == [Done(1)]
        os.killpg(child.pid, signal.SIGKILL)
        assert await stage.handle([batch([received(number, request(number)) for number in range(1, 9)])]) == [Done(8)]
        assert (stage.degraded, stage.waiting) == (8, 8)

        child = _start(server)
        deadline = time.monotonic() + 120
        while stage.waiting and time.monotonic() < deadline:
            await stage.rescore()
            await asyncio.sleep(0.2)
        with tracing.records("scoring", [{"trace_id": ONE}]):
            await served.score([request(9)])
        asked = next(span for span in exporter.get_finished_spans() if span.name == "triton")
        deadline = time.monotonic() + 120
        # Sent every few seconds, not all of a request at once; a Triton that ends may leave the last ones unsent.
        while f"{asked.context.span_id:016x}" not in {span["parentSpanId"] for span in spans} and time.monotonic() < deadline:  # noqa: ASYNC110 (a thread fills it)
            await asyncio.sleep(0.2)
    finally:
        await served.close()
        child.stop()

    assert stage.waiting == 0
    answers = [(one.patient, one.risk.scorer, one.degraded) for one in log.documents(ASSESSMENTS)]
    again = [(f"p{number}", scorer, degraded) for number in range(1, 9) for scorer, degraded in (("onnxruntime", True), ("triton", False))]
    assert sorted(answers) == sorted([("p0", "triton", False), *again])
    assert {span["traceId"] for span in spans} == {ONE}
    assert f"{asked.context.span_id:016x}" in {span["parentSpanId"] for span in spans}


def _server(folder: Path, ports: TritonPorts, otlp_endpoint: str) -> TritonServer:
    try:
        triton_environment.check_platform()
    except TritonUnavailable as reason:
        pytest.skip(str(reason))
    return TritonServer(folder / "models", ports, folder / "triton.log", lambda target: build_repository(target, "cpu"), otlp_endpoint)


def _start(server: TritonServer) -> Child:
    child = Child(server.launch())
    wait_until_ready(child, server.ready, "triton", 240)
    return child
