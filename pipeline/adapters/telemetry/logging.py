"""structlog's configuration: lines for people on a console, JSON for machines, the same processors; and whose traces a line is of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import structlog

from pipeline.adapters.telemetry.tracing import chosen


def configure(log_format: Literal["console", "json"], level: str) -> None:
    """Called once by each process. Times are UTC, ISO 8601."""
    renderer = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )


@contextmanager
def of_records(headers: Iterable[Mapping[str, str]]) -> Iterator[None]:
    """Lines that are written inside name the traces of these records (`traces`), as a gateway's line of the message does."""
    found = {trace: None for one in headers if (trace := one.get("trace_id"))}
    with structlog.contextvars.bound_contextvars(traces=chosen(found)):
        yield
