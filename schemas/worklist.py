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

    binding: this reason sets `due_at`. Only a reader's own act (kinds "hold" and "override") has negative minutes: later than the target.
    """

    evidence: Evidence
    minutes: float
    binding: bool = False


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Set aside by a reader until `until` at the latest.

    paused: it cannot be read as it is, so its clock stands still. Else it is put off, and its clock runs on.
    ruled_at: the deadline by the rules when it was set aside: an earlier one brings it back, as do new images or a new report.
    """

    code: str
    words: str
    by: str
    since: Instant
    until: Instant
    ruled_at: Instant
    paused: bool = True
    instances: int = 0
    preliminary_report: bool = False
    note: str | None = None


class Override(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reader's own deadline in place of the rules', until `until`. ruled_at: what the rules said when it was given."""

    due_at: Instant
    words: str
    by: str
    since: Instant
    until: Instant
    ruled_at: Instant


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What readers did to a deadline. due_at, target_at: as they are without it. paused_s: for which past holds stopped the clock."""

    due_at: Instant
    target_at: Instant
    paused_s: float = 0.0
    hold: Hold | None = None
    override: Override | None = None


class WorklistItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="worklist/1"):
    """One open study with its deadline and the reasons for it.

    due_at: the earliest of the order's own deadline and what acuity allows. target_at: the order's own alone; due_at <= target_at, unless
    a reader's override says otherwise. policy: version of the site's rules that it was ranked by. moved_at: when due_at moved last.
    review_at: when time alone will change something (a hold or an override ends, a move held back as noise is due).
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
    adjustment: Adjustment | None = None
    policy: str | None = None
    moved_at: Instant | None = None
    review_at: Instant | None = None
