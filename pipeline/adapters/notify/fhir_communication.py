"""A FHIR R4 Communication, created on condition (HTTP 3.1.0.8.1): a server that has one with this step's key makes no second."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from pipeline.domain.escalation_policy import Channel
from pipeline.domain.radlex import CATEGORIES, SYSTEM
from pipeline.ports.escalation import Delivery, Notice

_SYSTEM = "urn:ietf:rfc:3986"


def resource(notice: Notice) -> dict[str, Any]:
    """No subject: the link leads a person who may know to the patient."""
    code, words = CATEGORIES[notice.category]  # type: ignore[index]
    note = [{"text": "This message may have been sent before; it is the same one."}] if notice.repeat else []
    return {
        "resourceType": "Communication",
        "identifier": [{"system": _SYSTEM, "value": f"urn:uuid:{notice.key}"}],
        "status": "completed",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "alert"}]},
            {"coding": [{"system": SYSTEM, "code": code, "display": words}]},
        ],
        "priority": "stat" if notice.category == 1 else "urgent",
        "topic": {"text": notice.subject},
        "recipient": [{"display": notice.role}],
        "sender": {"display": "Readfirst"},
        "sent": notice.at.isoformat(),
        "payload": [{"contentString": notice.text}, {"contentAttachment": {"url": notice.link, "title": "Open on the list"}}],
        **({"note": note} if note else {}),
    }


async def send(client: httpx.AsyncClient, notice: Notice, channel: Channel) -> Delivery:
    """POST to the server's base address. 200: there was one with this key already."""
    headers = {
        "Content-Type": "application/fhir+json",
        "Accept": "application/fhir+json",
        "If-None-Exist": f"identifier={_SYSTEM}|urn:uuid:{notice.key}",
        **({"Authorization": f"Bearer {channel.secret}"} if channel.secret else {}),
    }
    body = msgspec.json.encode(resource(notice))
    answer = await client.post(f"{channel.url.rstrip('/')}/Communication", content=body, headers=headers, timeout=channel.timeout_s)
    return Delivery("delivered") if answer.is_success else Delivery("refused", f"HTTP {answer.status_code}")
