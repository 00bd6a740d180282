"""A patient's facts on one axis: vitals and labs as series, everything else as marks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pipeline.domain.catalogue import OBSERVABLES, Observable
from pipeline.domain.evidence import rejected_words
from pipeline.domain.timestamps import without_clock
from pipeline.worklist.presentation import examination
from schemas.events import AdtEvent, AnyEvent, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent

ADT_WORDS = {
    "A01": "admitted",
    "A02": "transferred",
    "A03": "discharged",
    "A04": "registered",
    "A06": "became inpatient",
    "A07": "became outpatient",
    "A11": "admission cancelled",
    "A12": "transfer cancelled",
    "A13": "discharge cancelled",
    "A40": "records merged",
    "A37": "records separated",
}
"""HL7 table 0003, the events that move a patient."""

Told = tuple[Observation, ObservationEvent]


def timeline(events: Sequence[AnyEvent]) -> dict[str, Any]:
    """Series in the catalogue's order, points oldest first; a correction stands in place of what it corrects, a retracted value is gone."""
    told: dict[str, Told] = {}
    for event in sorted((e for e in events if isinstance(e, ObservationEvent)), key=lambda e: e.recorded_at):
        told.update({observation.key: (observation, event) for observation in event.observations})
    return {
        "series": [series for loinc in OBSERVABLES if (series := _series(OBSERVABLES[loinc], list(told.values())))],
        "marks": sorted(_marks(events), key=lambda mark: mark["at"]),
        "retracted": sum(observation.status == "deleted" for observation, _ in told.values()),
    }


def _series(kind: Observable, told: Sequence[Told]) -> dict[str, Any] | None:
    points = [_point(o, e) for o, e in told if o.loinc == kind.loinc and o.status != "deleted" and o.value is not None]
    if not points:
        return None
    points.sort(key=lambda point: point["at"])
    return {"code": kind.loinc, "name": kind.name, "label": kind.label, "unit": plain_unit(kind.unit), "kind": kind.kind, "points": points}


def _point(observation: Observation, event: ObservationEvent) -> dict[str, Any]:
    return {
        "at": observation.effective.utc,
        "when": without_clock(observation.effective),
        "value": observation.value,
        "flag": observation.flag,
        "comparator": observation.comparator,
        "corrected": observation.status == "corrected",
        "source": event.source,
    }


def _marks(events: Sequence[AnyEvent]) -> list[dict[str, Any]]:
    studies: dict[str, dict[str, Any]] = {}
    marks = []
    for event in events:
        if isinstance(event, ImagingEvent) and event.rejection is None:
            image = _image(event)
            known = studies.setdefault(event.study_uid, image)
            known["at"] = min(known["at"], image["at"])
        elif (mark := _mark(event)) is not None:
            marks.append(mark)
    return [*marks, *studies.values()]


def _image(event: ImagingEvent) -> dict[str, Any]:
    words = examination(event.modality, event.study_description or event.body_part)
    return _at(event.acquired.utc, "image", words or "images", event.study_uid)


def _mark(event: AnyEvent) -> dict[str, Any] | None:
    if isinstance(event, ImagingEvent) and (note := event.rejection) is not None:
        return _at(event.recorded_at, "image", rejected_words(note.code, len(note.instances)), event.study_uid) if note.instances else None
    if isinstance(event, OrderEvent):
        at = event.requested.utc if event.requested and event.control == "new" else event.recorded_at
        name = event.procedure.display if event.procedure and event.procedure.display else event.modality
        return _at(at, "order", f"order {event.control}" + (f": {name}" if name else ""), event.study_uid)
    if isinstance(event, ReportEvent):
        return _at(event.issued.utc, "report", f"{event.status} report", event.study_uid)
    if isinstance(event, AdtEvent) and (visit := event.appointment) is not None:
        return _at(visit.at or event.occurred.utc, "adt", "clinic appointment" if visit.at else "clinic appointment cancelled", None)
    if isinstance(event, AdtEvent):
        word = ADT_WORDS.get(event.trigger, event.trigger)
        return _at(event.occurred.utc, "adt", f"{word} {event.location or ''}".strip(), None)
    return None


def _at(at: datetime, kind: str, label: str, study_uid: str | None) -> dict[str, Any]:
    return {"at": at, "kind": kind, "label": label, "study_uid": study_uid}


def plain_unit(ucum: str) -> str:
    """The UCUM unit as people write it: no annotations, mmHg, degrees."""
    known = {"mm[Hg]": "mmHg", "Cel": "°C", "[pH]": "", "10*3/uL": "10³/µL", "ug/mL{FEU}": "µg/mL"}
    return known.get(ucum, "" if ucum.startswith("{") else ucum)
