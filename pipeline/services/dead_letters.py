"""What a stage does with a record it cannot understand: the bytes, the place and the reason go to the topic dlq."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pipeline.ports import Received, Record
from schemas import codec
from schemas.dead_letter import DeadLetter, Reason
from schemas.identifiers import event_id
from schemas.topics import DLQ


def dead_letter(record: Received, reason: Reason, explanation: str, now: datetime) -> Record:
    """The record for the dlq. It has the event's own id, so that the books know what became of the event; without one, that of its place,
    the same each time the same record fails."""
    place = f"{record.topic.name}/{record.partition}/{record.offset}"
    letter = DeadLetter(
        event_id=record.headers.get("event_id") or event_id("dlq", place),
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
    return Record(DLQ, record.key or place.encode(), codec.encode(letter), {**record.headers, "event_id": letter.event_id})


def reasons(letters: Iterable[Record]) -> Counter[str]:
    """How many letters there are of each reason, for the metrics."""
    return Counter(codec.decode(DLQ, letter.value).reason for letter in letters)


def readable(records: Iterable[Received], now: datetime) -> tuple[list[tuple[Received, Any]], list[Record]]:
    """Each record with its document; and letters for what is no document of its topic, or not under its patient's key."""
    understood, letters = [], []
    for record in records:
        try:
            document = codec.decode(record.topic, record.body)
        except codec.UndecodableRecord as error:
            letters.append(dead_letter(record, error.reason, error.explanation, now))
            continue
        if record.key.decode(errors="replace") == document.patient:
            understood.append((record, document))
        else:
            letters.append(dead_letter(record, "wrong-key", "the Kafka key is not the document's patient", now))
    return understood, letters
