"""What a stage does with a record it cannot understand: the bytes, the place and the reason go to the topic dlq."""

from __future__ import annotations

from datetime import datetime

from pipeline.ports import Received, Record
from schemas import codec
from schemas.dead_letter import DeadLetter, Reason
from schemas.identifiers import event_id
from schemas.topics import DLQ


def dead_letter(record: Received, reason: Reason, explanation: str, now: datetime) -> Record:
    """The record for the dlq. Its event id is the same each time the same record fails."""
    letter = DeadLetter(
        event_id=event_id("dlq", f"{record.topic.name}/{record.partition}/{record.offset}"),
        reason=reason,
        explanation=explanation,
        topic=record.topic.name,
        partition=record.partition,
        offset=record.offset,
        body=record.body,
        recorded_at=now,
        key=record.key.decode(errors="replace"),
        headers=dict(record.headers),
    )
    headers = {"event_id": letter.event_id, "trace_id": record.headers.get("trace_id", ""), "source": record.headers.get("source", "")}
    return Record(DLQ, record.key, codec.encode(letter), headers)
