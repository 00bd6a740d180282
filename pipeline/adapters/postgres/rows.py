"""Worklist items to rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.adapters.postgres.values import key, storable, storable_or_none
from pipeline.adapters.worklist_rules import searched_text, seen_state
from pipeline.ports import ItemChange, ListedItem
from schemas.codec import decode, encode
from schemas.topics import WORKLIST
from schemas.worklist import WorklistItem


def stored_item(document: bytes, context_version: int, claimed_by: str | None) -> WorklistItem:
    """The column `context_version` may be ahead of the document's: a version that moved nothing was only noted."""
    item: WorklistItem = decode(WORKLIST, document)
    return msgspec.structs.replace(item, context_version=context_version, state=seen_state(item, claimed_by))


def listed(row: Sequence[Any]) -> ListedItem:
    """From the columns document, context_version, seq, claimed_by, claimed_at, acknowledged_by, acknowledged_at, number of others."""
    document, context_version, seq, claimed_by, *marks = row
    return ListedItem(stored_item(document, context_version, claimed_by), seq, claimed_by, *marks)


def item_columns(items: Sequence[WorklistItem]) -> dict[str, list[Any]]:
    """Parameters of `upsert`: one array a column."""
    return {
        "study_uid": [key(item.study.study_uid) for item in items],
        "patient": [key(item.patient) for item in items],
        "due_at": [item.due_at for item in items],
        "target_at": [item.target_at for item in items],
        "ready_at": [item.study.ready_at for item in items],
        "ranked_at": [item.ranked_at for item in items],
        "closed": [item.state == "closed" for item in items],
        "modality": [storable_or_none(item.study.modality) for item in items],
        "patient_class": [item.study.patient_class for item in items],
        "location": [storable_or_none(item.study.location) for item in items],
        "degraded": [item.degraded for item in items],
        "provisional": [item.provisional for item in items],
        "unmatched": [item.study.unmatched for item in items],
        "scorer": [item.risk.scorer if item.risk else None for item in items],
        "context_version": [item.context_version for item in items],
        "search": [storable(searched_text(item)) for item in items],
        "document": [encode(item) for item in items],
        "body_part": [storable_or_none(item.study.body_part) for item in items],
        **{name: [_standing(item)[name] for item in items] for name in ("policy", "held_until", "review_at", "overridden")},
    }


def restated(item: WorklistItem) -> dict[str, Any]:
    """Parameters of `restate`."""
    return {
        "study_uid": key(item.study.study_uid),
        "due_at": item.due_at,
        "target_at": item.target_at,
        "ranked_at": item.ranked_at,
        "document": encode(item),
        "search": storable(searched_text(item)),
        **_standing(item),
    }


def _standing(item: WorklistItem) -> dict[str, Any]:
    made = item.adjustment
    return {
        "policy": item.policy,
        "held_until": made.hold.until if made and made.hold else None,
        "review_at": item.review_at,
        "overridden": bool(made and made.override),
    }


def history_columns(changes: Sequence[ItemChange]) -> dict[str, list[Any]]:
    """Parameters of `add_rank_changes`."""
    return {
        "study_uid": [key(change.item.study.study_uid) for change in changes],
        "at": [change.item.ranked_at for change in changes],
        "due_at": [change.item.due_at for change in changes],
        "cause": [storable(change.cause) for change in changes],
        "event_id": [key(change.event_id) for change in changes],
        "why": [storable(change.item.why) for change in changes],
        "kind": [change.kind for change in changes],
    }
