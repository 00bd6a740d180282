"""What a request asks of the list, checked."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pipeline.domain.site import DEFAULT, Policy, SubList
from pipeline.errors import InvalidMessage
from pipeline.ports import Identity, ListedItem, ListQuery

FILTERS = ("modality", "patient_class", "location", "state")
LONGEST_TEXT = 200
STATES = ("open", "claimed", "held", "closed")
NEVER_MATCHES = "\x00"


def list_query(params: Mapping[str, str], now: datetime, policy: Policy = DEFAULT) -> ListQuery:
    """Filters, cursor and limit; `list` is one of the site's sub-lists. Raises InvalidMessage on what cannot be meant."""
    for name, value in params.items():
        if len(value) > LONGEST_TEXT and name != "after":
            raise InvalidMessage("invalid", f"{name} is longer than {LONGEST_TEXT} letters")
        if NEVER_MATCHES in value:
            raise InvalidMessage("invalid", f"{name} holds a NUL")
    filters = {name: params[name] for name in FILTERS if params.get(name)}
    if filters.get("state", "open") not in STATES:
        raise InvalidMessage("invalid", f"state is one of {', '.join(STATES)}")
    return ListQuery(
        limit=_limit(params.get("limit", "100")),
        after=params.get("after") or None,
        text=params.get("q", "").strip() or None,
        overdue_at=now if params.get("overdue") == "1" else None,
        part=_part(params.get("list"), policy),
        modality=filters.get("modality"),
        patient_class=filters.get("patient_class"),
        location=filters.get("location"),
        state=filters.get("state"),
    )


def _part(name: str | None, policy: Policy) -> SubList | None:
    part = policy.sub_list(name) if name else None
    if name and part is None:
        raise InvalidMessage("invalid", f"list is one of {', '.join(one.name for one in policy.lists)}")
    return part


def without_text(query: ListQuery, limit: int) -> ListQuery:
    """The same rows before the words are looked for."""
    return replace(query, text=None, limit=limit)


def matches(listed: ListedItem, person: Identity | None, text: str) -> bool:
    """Whether every word of `text` is somewhere in the name, the number, or what the row shows; case and accents do not matter."""
    study = listed.item.study
    examination = (study.study_uid, study.modality, study.body_part, study.description, study.indication)
    shown = (*examination, study.location, listed.item.why, listed.claimed_by)
    known = (person.name, person.patient_id) if person else ()
    haystack = folded(" ".join(part for part in (*shown, *known) if part))
    return all(word in haystack for word in folded(text).split())


def folded(text: str) -> str:
    """Lower case, without accents; the DICOM and HL7 separator ^ counts as a space."""
    letters = unicodedata.normalize("NFKD", text.replace("^", " ")).casefold()
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 500):
        raise InvalidMessage("invalid", "limit is a number from 1 to 500")
    return int(text)
