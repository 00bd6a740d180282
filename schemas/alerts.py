"""One step of an escalation, as the topic alerts carries it. No identifiers: a link instead."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.time import Instant


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="alert/1"):
    """A step taken: `idempotency_key` is the same each time this step is sent."""

    event_id: str
    idempotency_key: str
    study_uid: str
    patient: str
    step: Literal["notified", "acknowledged", "escalated", "resolved", "withdrawn"]
    reason: str
    at: Instant
    recorded_at: Instant
