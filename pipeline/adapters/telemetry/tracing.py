"""Traces, off by default: a span for whatever is done with records, joined over all roles by the trace id in Kafka's headers.

The trace id is made at the gateway from what the message is, so a resent message is the same trace. A batch has a span in the trace of each
message in it. Spans carry names of stages and topics and how many records went together; nothing of a patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:  # imported when tracing is switched on: it costs a start of every role
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

    from pipeline.settings import Telemetry

log = structlog.get_logger()

SPANS_MAX = 200
"""Traces that one batch has spans in; of a larger batch the first."""
_HEX = 16
_NONE: Mapping[str, Span] = MappingProxyType({})


class Tracing:
    """One a process. Until `start`, everything here costs a comparison."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._provider: TracerProvider | None = None
        self._current: ContextVar[Mapping[str, Span]] = ContextVar("spans", default=_NONE)

    def start(self, role: str, telemetry: Telemetry, processor: SpanProcessor | None = None) -> None:
        """Sends spans to the OTLP endpoint of the settings, where one is named. processor: another way out, for tests."""
        if telemetry.otlp_endpoint is None and processor is None:
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

        resource = Resource.create({"service.name": "readfirst", "service.instance.id": role})
        # by the trace id alone, so that every role keeps the same traces
        provider = TracerProvider(sampler=TraceIdRatioBased(telemetry.traces_share), resource=resource)
        provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter(telemetry.otlp_endpoint)))
        self._tracer, self._provider = provider.get_tracer("readfirst"), provider
        log.info("tracing_started", role=role, share=telemetry.traces_share)

    def stop(self) -> None:
        """Sends what is left; at a process's end this happens by itself."""
        if self._provider is not None:
            self._provider.shutdown()
        self._tracer = self._provider = None

    @contextmanager
    def records(self, name: str, headers: Iterable[Mapping[str, str]]) -> Iterator[None]:
        """What is done inside is a span in the trace of each of these records; within another, its child."""
        if self._tracer is None:
            yield
            return
        traces = list(dict.fromkeys(one.get("trace_id", "") for one in headers))
        with self._spans(name, traces):
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A part of what is being done: a child of each span that is open here."""
        if self._tracer is None:
            yield
            return
        with self._spans(name, list(self._current.get())):
            yield

    @contextmanager
    def _spans(self, name: str, traces: Sequence[str]) -> Iterator[None]:
        spans = {trace: span for trace in traces[:SPANS_MAX] if (span := self._begin(name, trace, len(traces))) is not None}
        token = self._current.set({**self._current.get(), **spans})
        try:
            yield
        except BaseException as error:
            for span in spans.values():
                span.set_attribute("error.type", type(error).__name__)
            raise
        finally:
            self._current.reset(token)
            for span in spans.values():
                span.end()

    def _begin(self, name: str, trace: str, together: int) -> Span | None:
        from opentelemetry import trace as api

        assert self._tracer is not None
        try:
            number = int(trace, _HEX)
        except ValueError:
            return None
        if not 0 < number < 1 << 128:
            return None
        # The message itself is the root: nobody has a span of it, so its id is a part of the trace's.
        root = api.NonRecordingSpan(
            api.SpanContext(number, (number & (1 << 64) - 1) or 1, is_remote=True, trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED))
        )
        parent = api.set_span_in_context(self._current.get().get(trace, root))
        return self._tracer.start_span(name, parent, attributes={"readfirst.traces": together})


TRACING = Tracing()
