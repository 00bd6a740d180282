"""What a replay came to, as one number: the list as it stands and the ranking's history, without what differs between two equal runs.

Left out are versions, times of ranking and scoring, and the order of changes to different studies, which nobody promised. Live and replay
split the same events into different batches, so the list is compared in what does not depend on that (`settled`): the reasons and the
deadline that they lead to, before the dead band, the risk to two digits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from pipeline.domain import deadlines
from pipeline.domain.site import DEFAULT, Policy
from schemas.assessments import Evidence, Risk
from schemas.worklist import WorklistItem

_BITS = 256


class HistoryDigest:
    """Of changes, each study's in their order. A closed study is folded into the sum, so that the size is that of the open list."""

    def __init__(self, chains: dict[str, bytes] | None = None, total: int = 0, changes: int = 0) -> None:
        self.chains = chains or {}
        self.total = total
        self.changes = changes

    def add(self, item: WorklistItem, cause: str, event_id: str) -> None:
        """The next change of the item's study."""
        uid = item.study.study_uid
        said = _canonical([seen(item), cause, event_id])
        link = hashlib.sha256(self.chains.get(uid, b"") + said).digest()
        self.changes += 1
        if item.state == "closed":
            self.chains.pop(uid, None)
            self.total = self._folded(uid, link)
        else:
            self.chains[uid] = link

    def value(self) -> str:
        """As hexadecimal digits; it can go on."""
        total = self.total
        for uid, link in self.chains.items():
            total = (total + _number(uid, link)) % (1 << _BITS)
        return f"{total:064x}"

    def _folded(self, uid: str, link: bytes) -> int:
        return (self.total + _number(uid, link)) % (1 << _BITS)


def _number(uid: str, link: bytes) -> int:
    return int.from_bytes(hashlib.sha256(uid.encode() + link).digest(), "big")


def whole(items: Iterable[WorklistItem], history: HistoryDigest) -> str:
    """The digest of a replay."""
    return hashlib.sha256(_canonical([[seen(item) for item in _open(items)], history.value(), history.changes])).hexdigest()


def state_digest(items: Iterable[WorklistItem], policy: Policy = DEFAULT, *, risk: bool = True) -> str:
    """Of the open list, whichever store it comes from. risk False: by the rules alone, where the model was asked at other moments."""
    return hashlib.sha256(_canonical([settled(item, policy, risk=risk) for item in _open(items)])).hexdigest()


def seen(item: WorklistItem) -> dict[str, Any]:
    """What of an item is the same each time: all that a reader sees."""
    return {
        "study": replace(item.study, event_id=None),
        "patient": item.patient,
        "due_at": item.due_at,
        "target_at": item.target_at,
        "state": "closed" if item.state == "closed" else "open",
        "why": item.why,
        "reasons": [replace(reason, evidence=_timeless(reason.evidence)) for reason in item.reasons],
        "risk": None if item.risk is None else [item.risk.model, item.risk.model_version, item.risk.probability],
        "missing": item.missing,
        "degraded": item.degraded,
        "provisional": item.provisional,
        "person": [item.sex, item.age],
    }


def settled(item: WorklistItem, policy: Policy = DEFAULT, *, risk: bool = True) -> dict[str, Any]:
    """What of an open item is the same for every way in which its events were split into batches."""
    rules = [reason.evidence for reason in item.reasons[1:] if reason.evidence.kind != "risk"]
    told = deadlines.of_risk(_rounded(item.risk), policy) if risk else None
    found = deadlines.decide(item.study, [*rules, *([told] if told else [])], policy)
    return {
        "study": replace(item.study, event_id=None, instances=0),
        "patient": item.patient,
        "due_at": found.due_at,
        "target_at": found.target_at,
        "reasons": [(one.kind, one.code, one.label, round(one.severity, 4), one.stale, one.reverts_when) for one in rules],
        "risk": told.label if told else None,
        "provisional": item.provisional,
        "person": [item.sex, item.age],
    }


def _open(items: Iterable[WorklistItem]) -> list[WorklistItem]:
    return sorted((item for item in items if item.state != "closed"), key=lambda item: item.study.study_uid)


def _timeless(evidence: Evidence) -> Evidence:
    """A score's own time is when it was asked for."""
    return replace(evidence, at=None, source=None) if evidence.kind == "risk" else evidence


def _rounded(risk: Risk | None) -> Risk | None:
    return None if risk is None or risk.probability is None else replace(risk, probability=round(risk.probability, 2))


def _canonical(content: Any) -> bytes:
    return msgspec.json.encode(content, order="deterministic")
