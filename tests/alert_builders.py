"""Builders of worklist items that give cause for alerts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from pipeline.domain import escalation
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import DEFAULT
from pipeline.domain.urgency import severity_of
from schemas.assessments import Evidence
from schemas.worklist import Reason, WorklistItem
from tests.store_fixtures import START, item


def potassium(value: float = 6.8, minutes: float = 25, *, stale: bool = False, at: datetime = START) -> Evidence:
    """A critical value that leaves so many minutes."""
    return Evidence(
        kind="critical-lab",
        code="potassium",
        label=f"K {value:g} mmol/L at {at:%H:%MZ}, critical above 6.1",
        severity=severity_of(minutes),
        value=value,
        at=at,
        stale=stale,
    )


def news2(total: float) -> Evidence:
    """Vital signs."""
    return Evidence(kind="news2", code="news2", label=f"NEWS2 {total:g} (7 of 7)", severity=severity_of(30), value=total, at=START)


def study(uid: str = "1.2.3", *evidence: Evidence, due: float = 240, version: int = 1, **fields: Any) -> WorklistItem:
    """An unread study with these reasons, due `due` minutes after START."""
    reasons = [Reason(evidence=one, minutes=60, binding=index == 0) for index, one in enumerate(evidence)]
    return item(uid, due=due, version=version, **{"reasons": reasons, "modality": "CT", "body_part": "HEAD", **fields})


def minutes(count: float) -> timedelta:
    """A span."""
    return timedelta(minutes=count)


def alert(uid: str = "1.2.3", trigger: Any = "critical", at: datetime = START, **changes: Any) -> Alert:
    """One that was raised now."""
    blank = Alert(
        id=escalation.alert_id(uid, trigger),
        subject=uid,
        trigger=trigger,
        category=DEFAULT.rules[trigger].category,
        state="notified",
        raised_at=at,
        ladder_from=at,
        identified_at=at,
        changed_at=at,
        what="CT head",
        finding="K 6.8",
        study_uid=uid,
        patient="p1",
        signs={"critical-lab:potassium": 25.0},
    )
    return replace(escalation.started(blank, at, DEFAULT), **changes)
