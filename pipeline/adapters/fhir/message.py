"""A FHIR request body (one resource or a Bundle) to an Arrival, and what became of each entry."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from pipeline.adapters.fhir import resources
from pipeline.adapters.fhir.appointments import appointment
from pipeline.adapters.fhir.reading import Reading
from pipeline.adapters.fhir.references import People, references
from pipeline.errors import Refused
from pipeline.services.intake import Arrival, Origin
from schemas.events import AnyEvent
from schemas.topics import Topic

READERS = {
    "Patient": resources.patient,
    "Encounter": resources.encounter,
    "Appointment": appointment,
    "ServiceRequest": resources.service_request,
    "ImagingStudy": resources.imaging_study,
    "Observation": resources.observation,
    "DiagnosticReport": resources.diagnostic_report,
}
"""Resource type -> what it says; the others are ignored."""
DEPTH_MAX = 64
ENTRIES_MAX = 20_000
VALUES_MAX = 1_000_000
"""Objects, lists and their members: a patient's whole record has some 30,000. Each costs some 100 bytes of memory, however short it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one resource: accepted, ignored or refused, with the reason."""

    resource_type: str
    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends, and what is configured for that sender. body_bytes_max: longest body, also after it was unpacked."""

    name: str
    site_key: bytes
    authority: str
    zone: ZoneInfo
    authorities: Mapping[str, str] = field(default_factory=dict)
    body_bytes_max: int = 32 << 20


def origin_of(body: bytes, source: str) -> Origin:
    """Which message a request body is: the same bytes are the same message."""
    return Origin(source, "fhir", sha256(body).hexdigest())


Recall = Callable[[Collection[str]], Mapping[str, str]]


def _nothing(numbers: Collection[str]) -> Mapping[str, str]:
    """There was no message before."""
    return {}


def read(body: bytes, source: Source, received: datetime, recall: Recall = _nothing) -> tuple[Arrival, list[Entry]]:
    """recall: what the numbers of references mean by earlier messages, as `IdentityVault.linked`.

    Raises Refused where the body is no FHIR JSON, or a transaction with an invalid entry (all or nothing, R4 section 3.1.0.11.2).
    """
    if len(body) > source.body_bytes_max:
        raise Refused("too-large", f"a body holds at most {source.body_bytes_max} bytes")
    document = _parse(_inflated(body, source.body_bytes_max))
    entries = _entries(document)
    origin = origin_of(body, source.name)
    people = People(source.site_key, source.name, source.authority, source.authorities)
    models = [_model(resource) for _, resource in entries]
    for (url, resource), model in zip(entries, models, strict=True):
        if resource.get("resourceType") == "Patient" and not isinstance(model, str):
            people.meet(model, url)
    valid = [resource for (_, resource), model in zip(entries, models, strict=True) if not isinstance(model, str | None)]
    people.recalled = recall({people.number(text) for text in references(valid)})
    reading = Reading(origin, people, received, source.zone, _by_reference(entries, models), {}, {}, Counter())
    events: list[tuple[Topic, AnyEvent]] = []
    outcomes = []
    for n, ((_, resource), model) in enumerate(zip(entries, models, strict=True)):
        found, outcome = _read_one(reading, resource, model, str(n))
        events += found
        outcomes.append(outcome)
    if document.get("type") == "transaction" and (bad := next((e for e in outcomes if e.outcome == "refused"), None)):
        raise Refused("invalid", f"{bad.resource_type}: {bad.reason}; a transaction is taken as a whole or not at all")
    return Arrival(origin, events, people.identities, reading.numbers, {**reading.links, **people.links}, reading.unmapped), outcomes


def _read_one(reading: Reading, resource: dict[str, Any], model: Any, part: str) -> tuple[list[tuple[Topic, AnyEvent]], Entry]:
    if not resource:
        return [], Entry("Bundle.entry", "ignored", "holds no resource")
    kind = str(resource.get("resourceType"))
    if kind not in READERS:
        return [], Entry(kind, "ignored", "resource type not used")
    if isinstance(model, str):
        return [], Entry(kind, "refused", model)
    events = list(READERS[kind](reading, model, part))
    return events, Entry(kind, "accepted") if events else Entry(kind, "ignored", "not about imaging, or names no patient")


def _by_reference(entries: list[tuple[str | None, dict[str, Any]]], models: list[Any]) -> dict[str, Any]:
    """The valid resources under each of their names."""
    found: dict[str, Any] = {}
    for (url, _), model in zip(entries, models, strict=True):
        if model is None or isinstance(model, str):
            continue
        names = (url, f"{model.get_resource_type()}/{model.id}" if model.id else None)
        found |= dict.fromkeys((name for name in names if name), model)
    return found


def _inflated(body: bytes, most: int) -> bytes:
    """The body itself, or what its gzip holds (RFC 1952), in no more memory than a body may take."""
    if body[:2] != b"\x1f\x8b":
        return body
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = inflater.decompress(body, most + 1)
    except zlib.error as error:
        raise Refused("malformed", "the compressed body is corrupt") from error
    if len(text) > most:
        raise Refused("too-large", f"the compressed body becomes more than {most} bytes")
    if not inflater.eof:
        raise Refused("malformed", "the compressed body is cut short")
    return text


def _parse(text: bytes) -> dict[str, Any]:
    if sum(text.count(sign) for sign in (b"{", b"[", b",")) > VALUES_MAX:
        raise Refused("too-large", f"more than {VALUES_MAX} values in one body")
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused("undecodable-text", "FHIR JSON is UTF-8, this is not") from error
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", f"not JSON: {str(error)[:120]}") from error
    if not isinstance(document, dict) or not isinstance(document.get("resourceType"), str):
        raise Refused("malformed", "not a FHIR resource: no resourceType")
    if _depth(document) > DEPTH_MAX:
        raise Refused("invalid", f"nested deeper than {DEPTH_MAX} levels")
    return document


def _entries(document: dict[str, Any]) -> list[tuple[str | None, dict[str, Any]]]:
    if document["resourceType"] != "Bundle":
        return [(None, document)]
    entries = document.get("entry") or []
    if not isinstance(entries, list) or len(entries) > ENTRIES_MAX:
        raise Refused("too-large" if isinstance(entries, list) else "invalid", f"a Bundle holds at most {ENTRIES_MAX} entries")
    return [_entry(each) for each in entries]


def _entry(entry: Any) -> tuple[str | None, dict[str, Any]]:
    """An entry without a resource (a DELETE, say) is told of as any other: with an empty one."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(resource, dict):
        return None, {}
    url = entry.get("fullUrl")
    return url if isinstance(url, str) else None, resource


def _model(resource: dict[str, Any]) -> Any:
    """The R4B model of a resource that is read, else None; the reason as text where it is not valid."""
    kind = str(resource.get("resourceType"))
    if kind not in READERS:
        return None
    if "\\u0000" in json.dumps(resource):
        return "a NUL in a text, which FHIR forbids"
    try:
        return get_fhir_model_class(kind).model_validate(resource)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return f"not valid R4B: {type(error).__name__}"


def _depth(document: Any) -> int:
    """Levels of nesting, without recursion."""
    deepest, level, layer = 0, 0, [document]
    while layer:
        level, deepest = level + 1, level + 1
        layer = [v for each in layer for v in (each.values() if isinstance(each, dict) else each) if isinstance(v, dict | list)]
        if deepest > DEPTH_MAX:
            break
    return deepest
