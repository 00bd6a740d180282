"""What Postgres cannot store as it comes: ids that are no UUID, text with NUL, keys too long for an index.

No record may stop the stream, so every string has a form that can be stored; the document itself is kept as bytes, unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID, uuid5

from schemas.identifiers import EVENT_NAMESPACE


def event_uuid(event_id: str) -> UUID:
    """The id itself; a foreign one that is no UUID gets the name-based UUID that stands for it."""
    try:
        return UUID(event_id)
    except ValueError:
        return uuid5(EVENT_NAMESPACE, event_id)


_DIGITS, _BYTES = 32, 16


def event_bytes(event_id: str) -> bytes:
    """The 16 bytes of `event_uuid`, a fifth of the way to them where the id is plain."""
    digits = event_id.replace("-", "")
    try:
        plain = bytes.fromhex(digits)
    except ValueError:
        plain = b""
    return plain if (len(digits), len(plain)) == (_DIGITS, _BYTES) else event_uuid(event_id).bytes


_KEY_MAX = 200
"""Characters. Three such keys of four bytes each still fit one index row (2,704 bytes)."""


def key(text: str) -> str:
    """What stands for an identifier in an indexed column: itself, or its digest where it is too long or holds a NUL."""
    if len(text) <= _KEY_MAX and "\0" not in text:
        return text
    return "sha256:" + sha256(text.encode()).hexdigest()


def by_key(texts: Iterable[str]) -> dict[str, str]:
    """key -> the identifier it stands for."""
    return {key(text): text for text in texts}


def storable(text: str) -> str:
    """Postgres text has no NUL: U+FFFD takes its place."""
    return text.replace("\0", "\ufffd")


def storable_or_none(text: str | None) -> str | None:
    """As storable."""
    return None if text is None else storable(text)
