"""What the stored worklists share, whatever they are stored in: cursor, limits, searched text, and who came first."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from pipeline.domain import alert_words, escalation
from pipeline.domain.escalation import Alert
from pipeline.errors import Conflict, InvalidMessage
from pipeline.ports import ActKind, ListedItem, ListQuery
from pipeline.ports.escalation import AlertChange
from schemas.alerts import Step
from schemas.time import Instant
from schemas.worklist import ItemState, WorklistItem

MAX_LIMIT = 500


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The place of a row in the list: what comes after it is (due_at, study_uid) > this."""

    due_at: Instant
    study_uid: str


_cursor = msgspec.json.Decoder(Cursor)


def encode_cursor(item: WorklistItem) -> str:
    """Opaque, and fit for a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(Cursor(item.due_at, item.study.study_uid))).decode().rstrip("=")


def decode_cursor(cursor: str) -> Cursor:
    """Raises InvalidMessage("invalid", …) on a cursor that is not ours."""
    try:
        return _cursor.decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidMessage("invalid", "this cursor was not made by the worklist") from error


def check_query(query: ListQuery) -> Cursor | None:
    """The cursor of the query, decoded. Raises InvalidMessage("invalid", …) on a limit or state out of range."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidMessage("invalid", f"limit must be 1 to {MAX_LIMIT}")
    if query.state not in (None, "open", "claimed", "held", "closed"):
        raise InvalidMessage("invalid", "state must be open, claimed, held or closed")
    return decode_cursor(query.after) if query.after else None


def searched_text(item: WorklistItem) -> str:
    """What the text filter looks in, lower case. It holds no identifier of a person."""
    study = item.study
    words = (study.description, study.body_part, study.modality, study.location, study.indication, item.why, study.study_uid)
    return " ".join(word for word in words if word).lower()


def seen_state(item: WorklistItem, claimed_by: str | None) -> ItemState:
    """Closed is the ranking stage's word, claimed the readers'."""
    if item.state == "closed":
        return "closed"
    return "claimed" if claimed_by else "open"


Action = Literal["claim", "release", "acknowledge"] | ActKind
SETTING_ASIDE = frozenset({"hold", "defer"})


def refusal(listed: ListedItem, reader: str, action: Action) -> Conflict | None:
    """Why the reader cannot do this to the item, None when it can (or has already)."""
    owner, since = listed.claimed_by, listed.claimed_at
    if action == "acknowledge":
        owner, since = listed.acknowledged_by, listed.acknowledged_at
    elif action in ("resume", "override", "free"):
        owner = None
    if owner is not None and owner != reader:
        return Conflict(f"{owner} was first{_at(since)}")
    if listed.item.state == "closed" and action != "release" and (owner is None or action in SETTING_ASIDE):
        return Conflict(f"the study has left the list: {listed.item.study.closed or 'closed'}")
    return None


def _at(moment: datetime | None) -> str:
    return f", {moment:%Y-%m-%d %H:%M} UTC" if moment else ""


def acknowledging(alerts: Iterable[Alert], reader: str, now: datetime, method: str, take_over: bool) -> list[AlertChange]:
    """What acknowledging a study does to its alerts: those that are open, and on taking over those that another has acknowledged."""
    changes = []
    for alert in alerts:
        others = take_over and alert.state == "acknowledged" and alert.acknowledged_by != reader
        if alert.is_open or others:
            after = escalation.acknowledged(alert, reader, now, method, take_over=take_over)
            step: Step = "taken-over" if take_over else "acknowledged"
            changes.append(AlertChange(after, alert_words.entry(after, step, f"received over {method}", now, by=reader)))
    return changes
