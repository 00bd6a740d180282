"""Traces, off by default: a span for whatever is done with records, joined over all roles by the trace id in Kafka's headers.

The trace id is made at the gateway from what the message is, so a resent message is the same trace. A batch has a span in the trace of each
message in it. Spans carry names of stages and topics and how many records went together; nothing of a patient.
"""

from __future__ import annotations

import atexit
import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from heapq import nsmallest
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:  # imported when tracing is switched on: it costs a start of every role
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import SpanContext

    from pipeline.settings import Telemetry

log = structlog.get_logger()

TRACES_MAX = 32
"""Messages of a batch that have a span and stand in a log line. A span's export costs as much as an event in a large batch: the bound keeps
tracing cheap when the load is high (`readfirst bench overhead`). Batches are 50 ms apart: up to 640 messages/s each has its spans."""
_HEX = 16
_LOW = (1 << 64) - 1
_NONE: Mapping[str, SpanContext] = MappingProxyType({})
Attributes = dict[str, str | int]


def chosen(traces: Collection[str]) -> list[str]:
    """At most TRACES_MAX of them: those of the lowest ids, so that every role keeps the same ones and what is kept is whole."""
    return nsmallest(TRACES_MAX, traces) if len(traces) > TRACES_MAX else list(traces)


class Tracing:
    """One a process. Until `start`, everything here costs a comparison."""

    def __init__(self) -> None:
        self._out: _Out | None = None
        self._current: ContextVar[Mapping[str, SpanContext]] = ContextVar("spans", default=_NONE)

    def start(self, role: str, telemetry: Telemetry, processor: SpanProcessor | None = None) -> None:
        """Sends spans to the OTLP endpoint of the settings, where one is named. processor: another way out, for tests."""
        if telemetry.otlp_endpoint is None and processor is None:
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": "readfirst", "service.instance.id": role})
        self._out = _Out(processor or BatchSpanProcessor(OTLPSpanExporter(telemetry.otlp_endpoint)), resource, telemetry.traces_share)
        atexit.register(self.stop)
        log.info("tracing_started", role=role, share=telemetry.traces_share)

    def stop(self) -> None:
        """Sends what is left; at a process's end this happens by itself."""
        if self._out is not None:
            self._out.processor.shutdown()
            atexit.unregister(self.stop)
        self._out = None

    @contextmanager
    def records(self, name: str, headers: Iterable[Mapping[str, str]]) -> Iterator[None]:
        """What is done inside is a span in the trace of each of these records; within another, its child."""
        if self._out is None:
            yield
            return
        traces = {trace: None for one in headers if (trace := one.get("trace_id"))}
        with self._spans(self._out, name, chosen(traces), len(traces)):
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A part of what is being done: a child of each span that is open here."""
        if self._out is None:
            yield
            return
        current = self._current.get()
        with self._spans(self._out, name, current, len(current)):
            yield

    def context(self) -> dict[str, str] | None:
        """W3C Trace Context for a server that is asked within this step. It takes one trace only: the first of those open here."""
        span = next(iter(self._current.get().values()), None)
        return span and {"traceparent": f"00-{span.trace_id:032x}-{span.span_id:016x}-01"}

    @contextmanager
    def _spans(self, out: _Out, name: str, traces: Iterable[str], together: int) -> Iterator[None]:
        current = self._current.get()
        # parent and child by trace
        spans = {trace: (parent, out.child(parent)) for trace in traces if (parent := current.get(trace) or out.root(trace)) is not None}
        token = self._current.set({**current, **{trace: child for trace, (_, child) in spans.items()}})
        began = time.time_ns()
        attributes: Attributes = {"readfirst.traces": together}
        try:
            yield
        except BaseException as error:
            attributes["error.type"] = type(error).__name__
            raise
        finally:
            self._current.reset(token)
            out.send(name, spans.values(), attributes, began)


class _Out:
    """Where spans go. The spans of a batch differ in their ids alone, so they are made at its end as the exporter reads them: those of a
    tracer, to which anybody may still write, cost seven times as much."""

    def __init__(self, processor: SpanProcessor, resource: Resource, share: float) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, TraceFlags

        self.processor = processor
        self._bound = TraceIdRatioBased.get_bound_for_rate(share)
        self._context, self._sampled = SpanContext, TraceFlags(TraceFlags.SAMPLED)
        self._span = partial(ReadableSpan, resource=resource, instrumentation_scope=InstrumentationScope("readfirst"))

    def root(self, trace: str) -> SpanContext | None:
        """The message itself: nobody has a span of it, so its id is a part of the trace's. None: there is no trace, or it is not kept."""
        try:
            number = int(trace, _HEX)
        except ValueError:
            return None
        low = number & _LOW
        # by the trace id alone, so that every role keeps the same traces
        if not 0 < number < 1 << 128 or low >= self._bound:
            return None
        return self._context(number, low or 1, is_remote=True, trace_flags=self._sampled)

    def child(self, parent: SpanContext) -> SpanContext:
        """A span of its own in the same trace."""
        return self._context(parent.trace_id, random.getrandbits(64) or 1, is_remote=False, trace_flags=self._sampled)

    def send(self, name: str, spans: Iterable[tuple[SpanContext, SpanContext]], attributes: Attributes, began: int) -> None:
        """Spans (parent, itself) that end now. began: nanoseconds since 1970."""
        make = partial(self._span, name, attributes=attributes, start_time=began, end_time=time.time_ns())
        for parent, own in spans:
            self.processor.on_end(make(context=own, parent=parent))


TRACING = Tracing()
