"""A FHIR request body (one resource or a Bundle) to an Arrival, and what became of each entry."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from pipeline.adapters.fhir.references import People
from pipeline.adapters.fhir.resources import READERS, Reading
from pipeline.errors import Refused
from pipeline.services.intake import Arrival, Origin
from schemas.events import AnyEvent
from schemas.topics import Topic

DEPTH_MAX = 64
ENTRIES_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one resource: accepted, ignored or refused, with the reason."""

    resource_type: str
    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends, and what is configured for that sender."""

    name: str
    site_key: bytes
    authority: str
    zone: ZoneInfo
    authorities: Mapping[str, str] = field(default_factory=dict)


def origin_of(body: bytes, source: str) -> Origin:
    """Which message a request body is: the same bytes are the same message."""
    return Origin(source, "fhir", sha256(body).hexdigest())


def read(body: bytes, source: Source, received: datetime) -> tuple[Arrival, list[Entry]]:
    """Raises Refused where the body is no FHIR JSON, or a transaction with an invalid entry (all or nothing, R4 section 3.1.0.11.2)."""
    document = _parse(body)
    entries = _entries(document)
    origin = origin_of(body, source.name)
    people = People(source.site_key, source.name, source.authority, source.authorities)
    models = [_model(resource) for _, resource in entries]
    for (url, resource), model in zip(entries, models, strict=True):
        if resource.get("resourceType") == "Patient" and not isinstance(model, str):
            people.meet(model, [url])
    reading = Reading(origin, people, received, source.zone, {}, {})
    events: list[tuple[Topic, AnyEvent]] = []
    outcomes = []
    for n, ((_, resource), model) in enumerate(zip(entries, models, strict=True)):
        found, outcome = _read_one(reading, resource, model, str(n))
        events += found
        outcomes.append(outcome)
    if document.get("type") == "transaction" and (bad := next((e for e in outcomes if e.outcome == "refused"), None)):
        raise Refused("invalid", f"{bad.resource_type}: {bad.reason}; a transaction is taken as a whole or not at all")
    return Arrival(origin, events, people.identities, reading.numbers, {**reading.links, **people.links}), outcomes


def _read_one(reading: Reading, resource: dict[str, Any], model: Any, part: str) -> tuple[list[tuple[Topic, AnyEvent]], Entry]:
    kind = str(resource.get("resourceType"))
    if kind not in READERS:
        return [], Entry(kind, "ignored", "resource type not used")
    if isinstance(model, str):
        return [], Entry(kind, "refused", model)
    events = list(READERS[kind](reading, model, part))
    return events, Entry(kind, "accepted") if events else Entry(kind, "ignored", "not about imaging, or names no patient")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        text = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode("utf-8-sig")
        document = json.loads(text)
    except UnicodeDecodeError as error:
        raise Refused("undecodable-text", "FHIR JSON is UTF-8, this is not") from error
    except (ValueError, RecursionError, OSError, EOFError) as error:
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
    return [(e.get("fullUrl"), e["resource"]) for e in entries if isinstance(e, dict) and isinstance(e.get("resource"), dict)]


def _model(resource: dict[str, Any]) -> Any:
    """The R4B model of a resource that is read, else None; the reason as text where it is not valid."""
    kind = resource.get("resourceType")
    if kind not in READERS:
        return None
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
