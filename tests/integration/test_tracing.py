"""Traces: one message, one trace, over every role; nothing where they are off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline.adapters.telemetry.tracing import Tracing
from pipeline.settings import Telemetry

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


def test_off_is_off() -> None:
    """Nothing is made, nothing imported."""
    tracing = Tracing()
    tracing.start("web", Telemetry())
    with tracing.records("append", [{"trace_id": ONE}]), tracing.step("triton"):
        assert tracing._tracer is None


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
