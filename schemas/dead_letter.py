"""A record or message that could not be understood: its bytes, its place and the reason, so that it can be mended and sent again."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.time import Instant

Reason = Literal[
    "malformed",  # not JSON, not HL7, not DICOM, not FHIR
    "unknown-schema",  # a `schema` word this version does not know
    "unsupported-major",  # a newer major version than this reader's
    "invalid",  # the document breaks its schema (type, range, required field)
    "wrong-key",  # the Kafka key is not the document's patient
    "wrong-topic",  # the document does not belong on this topic
    "too-large",
    "undecodable-text",  # a byte that the declared character set does not have
    "merge-cycle",
    "unsupported-type",
    "missing-identifier",
]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="dead-letter/1"):
    """`body` is base64 in JSON (msgspec's encoding of bytes). topic/partition/offset: where it stood; offset -1: refused at a gateway."""

    event_id: str
    reason: Reason
    explanation: str
    topic: str
    partition: int
    offset: int
    body: bytes
    recorded_at: Instant
    key: str | None = None
    headers: dict[str, str] = {}
