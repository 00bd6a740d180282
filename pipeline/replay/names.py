"""What a hand-written log calls patients, studies and orders, and the pseudonyms and UIDs that stand for them on the topics."""

from __future__ import annotations

import uuid

from schemas.identifiers import EVENT_NAMESPACE, accession_key, order_key

SITE_KEY = b"readfirst-test-log"
"""The key of every hand-written log: names in it are invented, and a test has to find them again."""

AUTHORITY = "HOSPITAL"


def study_uid(name: str) -> str:
    """The UID of the study that a story calls `name` (PS3.5 section B.2: 2.25 and a UUID as a decimal number)."""
    return f"2.25.{uuid.uuid5(EVENT_NAMESPACE, f'story|{name}').int}"


def meant_by(name: str) -> frozenset[str]:
    """All that `name` may stand for on the topics: itself, a study's UID, an accession or order number's pseudonym."""
    return frozenset((name, study_uid(name), accession_key(SITE_KEY, name), order_key(SITE_KEY, name)))
