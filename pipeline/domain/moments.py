"""When an event was true, as its source told it: the specimen's, acquisition's, order's or report's time."""

from __future__ import annotations

from datetime import datetime

from schemas.events import AdtEvent, AnyEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent
from schemas.time import Timestamp


def true_at(event: AnyEvent) -> datetime | None:
    """UTC; None where the source gave no time of its own. Of several observations the newest counts: it is the news."""
    told: list[Timestamp] = []
    match event:
        case ImagingEvent():
            told = [event.acquired]
        case OrderEvent():
            told = [event.requested] if event.requested else []
        case ObservationEvent():
            told = [observation.effective for observation in event.observations]
        case AdtEvent():
            told = [event.occurred]
        case ReportEvent():
            told = [event.issued]
    return max((time.utc for time in told if time.precision != "missing"), default=None)
