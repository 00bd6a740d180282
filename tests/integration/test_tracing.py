"""Traces: one message, one trace, over every role; nothing where they are off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from confluent_kafka import Producer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.telemetry.tracing import TRACES_MAX, Tracing
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.errors import Unavailable
from pipeline.ports import Record
from pipeline.settings import Kafka, Telemetry
from schemas.topics import ASSESS
from tests.unit.services.test_scoring import request

ONE, OTHER = "0af7651916cd43dd8448eb211c80319c", "0af7651916cd43dd8448eb211c80319d"


def started(exporter: InMemorySpanExporter, role: str = "agent-scoring", share: float = 1.0) -> Tracing:
    """Switched on, into memory."""
    tracing = Tracing()
    tracing.start(role, Telemetry(traces_share=share), SimpleSpanProcessor(exporter))
    return tracing


def trace_of(span: ReadableSpan) -> str:
    """As Kafka's header has it."""
    return f"{span.context.trace_id:032x}"


async def test_two_roles_write_one_trace() -> None:
    """The trace is the header's; what is done within is a child; another message of the same batch has its own."""
    exporter = InMemorySpanExporter()
    gateway, agent = started(exporter, "gateway-hl7"), started(exporter)
    with gateway.records("append", [{"trace_id": ONE}]):
        pass
    with agent.records("scoring", [{"trace_id": ONE}, {"trace_id": ONE}, {"trace_id": OTHER}]):

        async def ask() -> None:
            with agent.step("triton"):
                await asyncio.sleep(0)

        await asyncio.gather(ask())
    spans = exporter.get_finished_spans()

    assert sorted((span.name, trace_of(span)) for span in spans) == sorted(
        [("append", ONE), ("scoring", ONE), ("scoring", OTHER), ("triton", ONE), ("triton", OTHER)]
    )
    by_name = {(span.name, trace_of(span)): span for span in spans}
    assert by_name["triton", ONE].parent == by_name["scoring", ONE].context
    assert by_name["append", ONE].parent.span_id == by_name["scoring", ONE].parent.span_id  # type: ignore[union-attr]


async def test_what_goes_to_kafka_and_to_triton_is_in_the_messages_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the adapters themselves: a record's append as its header says, and a request to Triton, here one that is not there."""
    exporter = InMemorySpanExporter()
    tracing = started(exporter)
    for module in ("kafka.log", "triton.scorer"):
        monkeypatch.setattr(f"pipeline.adapters.{module}.TRACING", tracing)
    cluster = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1, "log_level": 2})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    log = KafkaEventLog(Kafka(bootstrap_servers=f"{broker.host}:{broker.port}"))
    await log.append([Record(ASSESS, b"p", b"{}", {"trace_id": ONE}), Record(ASSESS, b"p", b"{}", {"trace_id": OTHER})])
    await log.close()
    scorer = TritonScorer("127.0.0.1:1", "clinical_risk", 0.3, ManualClock())
    with tracing.records("scoring", [{"trace_id": ONE}]), pytest.raises(Unavailable):
        await scorer.score([request()])
    await scorer.close()
    spans = exporter.get_finished_spans()

    assert sorted((span.name, trace_of(span)) for span in spans) == [("append", ONE), ("append", OTHER), ("scoring", ONE), ("triton", ONE)]
    by_name = {span.name: span for span in spans}
    assert by_name["triton"].parent == by_name["scoring"].context
    assert "error.type" in (by_name["triton"].attributes or {})


def test_a_failure_is_in_the_span_and_goes_on() -> None:
    """Its kind, not its words: they may hold what a message said."""
    exporter = InMemorySpanExporter()
    tracing = started(exporter)
    with pytest.raises(ValueError, match="DOE"), tracing.records("context", [{"trace_id": ONE}]):
        raise ValueError("DOE^JANE")
    (span,) = exporter.get_finished_spans()

    assert (span.attributes or {})["error.type"] == "ValueError"
    assert "DOE" not in span.to_json()


def test_records_without_a_trace_are_left_out() -> None:
    """Foreign headers are no reason to fail."""
    exporter = InMemorySpanExporter()
    with started(exporter).records(
        "context", [{}, {"trace_id": ""}, {"trace_id": "not hex"}, {"trace_id": "0" * 32}, {"trace_id": "f" * 40}]
    ):
        pass

    assert exporter.get_finished_spans() == ()


def test_every_role_keeps_the_same_share() -> None:
    """Half of the traces, the same half."""
    kept = []
    for role in ("gateway-hl7", "agent-ranking"):
        exporter = InMemorySpanExporter()
        tracing = started(exporter, role, 0.5)
        for number in range(200):
            with tracing.records("x", [{"trace_id": f"{number * 0x9E3779B97F4A7C15 % (1 << 128) + 1:032x}"}]):
                pass
        kept.append({trace_of(span) for span in exporter.get_finished_spans()})

    assert kept[0] == kept[1]
    assert 50 < len(kept[0]) < 150


def test_of_a_large_batch_every_role_keeps_the_same_traces() -> None:
    """Batches fall otherwise in every role: a trace that is kept is kept from the gateway to the rank."""
    batch = [{"trace_id": f"{number * 0x9E3779B97F4A7C15 % (1 << 128) + 1:032x}"} for number in range(500)]
    kept = []
    for headers in (batch, batch[::-1], batch[250:] + batch[:250]):
        exporter = InMemorySpanExporter()
        with started(exporter).records("x", headers):
            pass
        kept.append([trace_of(span) for span in exporter.get_finished_spans()])

    assert kept[0] == kept[1] == kept[2] == sorted(one["trace_id"] for one in batch)[:TRACES_MAX]


def test_off_is_off() -> None:
    """Nothing is made, nothing imported."""
    tracing = Tracing()
    tracing.start("web", Telemetry())
    with tracing.records("append", [{"trace_id": ONE}]), tracing.step("triton"):
        assert tracing._out is None


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A local OTLP receiver."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    server.shutdown()


def test_spans_reach_a_collector(collector: tuple[str, list[ExportTraceServiceRequest]]) -> None:
    """Over OTLP, with the role as the service's instance."""
    address, received = collector
    tracing = Tracing()
    tracing.start("agent-context", Telemetry(otlp_endpoint=address))
    with tracing.records("context", [{"trace_id": ONE}]):
        pass
    tracing.stop()
    (resource,) = received[0].resource_spans
    names = {one.key: one.value.string_value for one in resource.resource.attributes}

    assert (names["service.name"], names["service.instance.id"]) == ("readfirst", "agent-context")
    assert [span.trace_id.hex() for span in resource.scope_spans[0].spans] == [ONE]
