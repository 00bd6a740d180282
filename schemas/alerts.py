"""One step of an escalation, as the topic alerts carries it. No identifiers: a link instead."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.time import Instant

Step = Literal[
    "raised",
    "suppressed",  # silent: a duplicate, a persistent abnormality, or over the shift's budget
    "changed",
    "notified",  # the first step was sent
    "escalated",  # a further step was sent
    "undelivered",  # the channel did not take it; it is tried again
    "acknowledged",
    "taken-over",
    "resolved",
    "withdrawn",
    "retracted",  # those who had been told were told that the reason has vanished
]


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="alert/1"):
    """A step taken: `idempotency_key` is the same each time this step is sent.

    study_uid: of an alert that no study stands behind, its subject ("model", "feed/labs"); patient is empty then.
    reason: in words. by: who did it, a reader's name or None for Readfirst. role, channel: who was told, and how.
    repeat: the message may have been sent before. radlex: of the finding; category: ACR 1 to 3.
    """

    event_id: str
    idempotency_key: str
    study_uid: str
    patient: str
    step: Step
    reason: str
    at: Instant
    recorded_at: Instant
    alert_id: str | None = None
    trigger: str | None = None
    category: int | None = None
    radlex: str | None = None
    round: int = 1
    role: str | None = None
    channel: str | None = None
    by: str | None = None
    repeat: bool = False
