"""A signed webhook: HMAC-SHA256 over time and body, and the step's key, by which the receiver knows a repeat.

The receiver checks X-Readfirst-Signature ("v1=" and the hexadecimal HMAC-SHA256 of "<X-Readfirst-Timestamp>.<body>") and refuses timestamps
that are more than five minutes off; it answers 2xx also to an Idempotency-Key that it has seen.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

import httpx
import msgspec

from pipeline.domain.escalation_policy import Channel
from pipeline.domain.radlex import CATEGORIES
from pipeline.ports.escalation import Delivery, Notice

TOLERANCE = timedelta(minutes=5)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-Readfirst-Signature."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """What a receiver checks; header names in lower case."""
    timestamp = headers.get("x-readfirst-timestamp", "")
    signature = headers.get("x-readfirst-signature", "")
    recent = timestamp.isdigit() and abs(now.timestamp() - int(timestamp)) <= TOLERANCE.total_seconds()
    return recent and hmac.compare_digest(sign(secret, timestamp, body), signature)


def body_of(notice: Notice) -> bytes:
    """The JSON document. radlex: the ACR category's code."""
    fields = {
        "key": notice.key,
        "kind": notice.kind,
        "alert": notice.alert_id,
        "category": notice.category,
        "radlex": CATEGORIES[notice.category][0],  # type: ignore[index]
        "role": notice.role,
        "subject": notice.subject,
        "text": notice.text,
        "link": notice.link,
        "at": notice.at,
        "repeat": notice.repeat,
    }
    return msgspec.json.encode(fields)


async def send(client: httpx.AsyncClient, notice: Notice, channel: Channel) -> Delivery:
    """One POST. Any 2xx is delivered; any other answer says that it was not taken."""
    body = body_of(notice)
    timestamp = str(int(notice.at.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": notice.key,
        "X-Readfirst-Timestamp": timestamp,
        "X-Readfirst-Signature": sign(channel.secret, timestamp, body),
    }
    answer = await client.post(channel.url, content=body, headers=headers, timeout=channel.timeout_s)
    return Delivery("delivered") if answer.is_success else Delivery("refused", f"HTTP {answer.status_code}")
