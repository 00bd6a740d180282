"""What Postgres cannot store as it comes: ids that are no UUID, text with NUL."""

from __future__ import annotations

from uuid import UUID, uuid5

from schemas.identifiers import EVENT_NAMESPACE


def event_uuid(event_id: str) -> UUID:
    """The id itself; a foreign one that is no UUID gets the name-based UUID that stands for it."""
    try:
        return UUID(event_id)
    except ValueError:
        return uuid5(EVENT_NAMESPACE, event_id)


def storable(text: str) -> str:
    """Postgres text has no NUL: U+FFFD takes its place."""
    return text.replace("\0", "\ufffd")


def storable_or_none(text: str | None) -> str | None:
    """As storable."""
    return None if text is None else storable(text)
