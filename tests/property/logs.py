"""Histories as event logs: records with places, offsets and times, and other interleavings of the same partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import strategies as st

from pipeline.adapters.memory.event_log import partition_of
from pipeline.replay.log_file import LoggedRecord, milliseconds
from schemas import codec
from schemas.events import AdtEvent, AnyEvent, FindingEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent
from schemas.topics import ADT, FINDINGS, IMAGING, ORDERS, REPORTS, VITALS

TOPICS = {
    ImagingEvent: IMAGING,
    FindingEvent: FINDINGS,
    OrderEvent: ORDERS,
    ReportEvent: REPORTS,
    AdtEvent: ADT,
    ObservationEvent: VITALS,
}


def logged(history: Sequence[AnyEvent], partitions: int = 3) -> list[LoggedRecord]:
    """The events as Kafka would hold them, were each sent when it became known."""
    ends: Counter[tuple[str, int]] = Counter()
    records = []
    for event in history:
        topic, key = TOPICS[type(event)].name, event.patient.encode()
        place = (topic, partition_of(key, partitions))
        headers = {"event_id": event.event_id, "trace_id": event.event_id.replace("-", ""), "source": event.source}
        records.append(LoggedRecord(*place, ends[place], milliseconds(event.recorded_at), key, codec.encode(event), headers))
        ends[place] += 1
    return records


@st.composite
def interleaved(draw: st.DrawFn, records: Sequence[LoggedRecord]) -> list[LoggedRecord]:
    """The same partitions, each in its order, otherwise mixed."""
    places: dict[tuple[str, int], list[LoggedRecord]] = {}
    for record in records:
        places.setdefault((record.topic, record.partition), []).append(record)
    mixed = []
    for chosen in draw(st.permutations([place for place, held in places.items() for _ in held])):
        mixed.append(places[chosen].pop(0))
    return mixed
