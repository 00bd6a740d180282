"""The worklist item, as the topic worklist and the JSON API show it."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.assessments import Evidence, Risk, StudyState
from schemas.codes import Sex
from schemas.time import Instant

ItemState = Literal["open", "claimed", "closed"]
Freshness = Literal["current", "stale"]


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Evidence, and what it did: `minutes` by which this reason alone would move the deadline before the order's own target.

    binding: this reason sets `due_at`.
    """

    evidence: Evidence
    minutes: float
    binding: bool = False


class WorklistItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="worklist/1"):
    """One open study with its deadline and the reasons for it.

    due_at: the earliest of the order's own deadline and what acuity allows. target_at: the order's own alone; due_at <= target_at always.
    why: the reasons in one line. degraded: no model was asked, or it did not answer. provisional: the study is not complete yet.
    """

    study: StudyState
    patient: str
    due_at: Instant
    target_at: Instant
    reasons: list[Reason]
    why: str
    context_version: int
    as_of: Instant
    ranked_at: Instant
    risk: Risk | None = None
    degraded: bool = False
    provisional: bool = False
    missing: list[str] = []
    state: ItemState = "open"
    sex: Sex = "U"
    age: float | None = None
