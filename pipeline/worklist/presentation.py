"""What a reader sees of an item: the row, the detail, the words for how sure and how fresh it is. Pure functions to JSON-ready values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pipeline.domain import adjustments
from pipeline.domain.evidence import rejected_words
from pipeline.domain.image_heads import at_prevalence
from pipeline.domain.site import DEFAULT, Policy
from pipeline.ports import Identity, ListedItem, RankChange, Summary
from schemas.assessments import StudyState
from schemas.findings import ImageAssessment, ImageFinding
from schemas.worklist import Reason, WorklistItem

CLASSES = {
    "E": "ED",
    "I": "inpatient",
    "O": "outpatient",
    "P": "pre-admission",
    "R": "recurring",
    "B": "obstetrics",
}
"""HL7 table 0004, as a department says it."""

QUIET_AFTER = {
    "imaging": timedelta(minutes=30),
    "orders": timedelta(minutes=30),
    "labs": timedelta(minutes=10),
    "vitals": timedelta(minutes=10),
    "adt": timedelta(hours=2),
    "reports": timedelta(hours=2),
}
"""How long each feed of a working department may say nothing before the page mentions it."""

NOT_WORTH_A_MARK = re.compile(r"image assessment(: (no image model|rejected) .*)?")
"""Missing from most studies: the detail says so, a mark on every row would say nothing. A refused picture is worth one."""

FEED_NAMES = {"imaging": "images", "adt": "admissions"}


def row(listed: ListedItem, person: Identity | None, now: datetime) -> dict[str, Any]:
    """One line of the list. All times are UTC; `person` is None for an unnamed reader or an unknown patient."""
    item, study = listed.item, listed.item.study
    return {
        "study_uid": study.study_uid,
        "seq": listed.seq,
        "state": "held" if item.state == "open" and adjustments.set_aside(item, now) else item.state,
        "closed": study.closed,
        "claimed_by": listed.claimed_by,
        "claimed_at": listed.claimed_at,
        "acknowledged_by": listed.acknowledged_by,
        "acknowledged_at": listed.acknowledged_at,
        "patient": item.patient,
        "person": as_person(person),
        "age": item.age,
        "age_text": age_text(item.age),
        "sex": item.sex,
        "what": what(study),
        "modality": study.modality,
        "where": where(study),
        "patient_class": study.patient_class,
        "priority": study.priority,
        "ready_at": study.ready_at,
        "due_at": item.due_at,
        "target_at": item.target_at,
        "why": item.why,
        "marks": [*reader_marks(listed, now), *marks(item)],
        "hold": hold(item, now),
        "override": override(item, now),
        "same_patient": listed.same_patient,
        "risk": None if item.risk is None else item.risk.probability,
        "context_version": item.context_version,
        "as_of": item.as_of,
    }


def detail(
    listed: ListedItem,
    person: Identity | None,
    accession: str | None,
    others: Sequence[ListedItem],
    now: datetime,
    policy: Policy = DEFAULT,
) -> dict[str, Any]:
    """The row and everything behind it. others: what else is waiting for this patient."""
    item, study = listed.item, listed.item.study
    return {
        **row(listed, person, now),
        "also_waiting": [also_waiting(other) for other in others],
        "policy": item.policy,
        "accession": accession,
        "indication": study.indication,
        "description": study.description,
        "body_part": study.body_part,
        "instances": study.instances,
        "complete": study.complete,
        "acquired_at": study.acquired_at,
        "requested_at": study.requested_at,
        "order": {"known": study.order is not None, "matched_by": study.matched_by, "priority_code": study.priority_code},
        "report": report(study),
        "reasons": [reason(r) for r in sorted(item.reasons, key=lambda r: (not r.binding, -r.minutes))],
        "minutes_won": _minutes(item.target_at - item.due_at),
        "assessment": msgspec.to_builtins(item.risk, builtin_types=(datetime,)) if item.risk else None,
        "image": None if study.image is None else image(study.image, policy),
        "degraded": item.degraded,
        "missing": item.missing,
        "ranked_at": item.ranked_at,
    }


def also_waiting(listed: ListedItem) -> dict[str, Any]:
    """Another open study of the same patient, in brief."""
    item = listed.item
    brief = {"study_uid": item.study.study_uid, "what": what(item.study), "due_at": item.due_at, "why": item.why, "as_of": item.as_of}
    return {**brief, "state": item.state, "claimed_by": listed.claimed_by}


def hold(item: WorklistItem, now: datetime) -> dict[str, Any] | None:
    """Why and by whom a study is set aside, while it is."""
    if not adjustments.set_aside(item, now) or item.adjustment is None or item.adjustment.hold is None:
        return None
    held = item.adjustment.hold
    return {"code": held.code, "words": held.words, "by": held.by, "since": held.since, "until": held.until, "paused": held.paused}


def override(item: WorklistItem, now: datetime) -> dict[str, Any] | None:
    """A reader's own deadline, while it stands."""
    made = item.adjustment.override if item.adjustment else None
    if made is None or now >= made.until:
        return None
    direction = "up" if adjustments.moves_up(made) else "down"
    return {"direction": direction, "words": made.words, "by": made.by, "since": made.since, "until": made.until, "due_at": made.due_at}


def reason(reason: Reason) -> dict[str, Any]:
    """A line of evidence: what, when, from where, the minutes it moves the deadline, and what would change it."""
    evidence = msgspec.to_builtins(reason.evidence, builtin_types=(datetime,))
    absent = {"value": None, "unit": None, "at": None, "source": None, "stale": False, "reverts_when": None, "when": None}
    return {**absent, **evidence, "minutes": reason.minutes, "binding": reason.binding}


def image(seen: ImageAssessment, policy: Policy) -> dict[str, Any]:
    """What an image model said of a picture; the probabilities at the department's own share of findings too."""
    said: dict[str, Any] = msgspec.to_builtins(seen, builtin_types=(datetime,))
    shares = {one.code: policy.prevalence(one.code) for one in seen.findings}
    findings = [
        {
            **msgspec.to_builtins(one),
            "here": at_prevalence(one, shares[one.code]),
            "prevalence_here": shares[one.code],
            "activation": activation(one),
        }
        for one in seen.findings
    ]
    return {"refused": None, "explanation": None, "unlikeness": None, "scorer": None, **said, "findings": findings}


def activation(finding: ImageFinding) -> dict[str, Any] | None:
    """Where in the picture the finding comes from: -1 (against it) to 1 (for it), row by row from the upper left."""
    seen = finding.activation
    if seen is None:
        return None
    return {"side": seen.side, "peak": seen.peak, "levels": [round((level - 128) / 127, 2) for level in seen.levels]}


def rank_change(change: RankChange) -> dict[str, Any]:
    """A line of the history."""
    return {
        "at": change.at,
        "due_at": change.due_at,
        "cause": change.cause,
        "why": change.why,
        "event_id": change.event_id,
        "kind": change.kind,
    }


def summary(summary: Summary, now: datetime, trouble_since: datetime | None) -> dict[str, Any]:
    """What stands above the list."""
    return {
        "now": now,
        "seq": summary.seq,
        "open": summary.open,
        "overdue": summary.overdue,
        "degraded": summary.degraded,
        "unmatched": summary.unmatched,
        "held": summary.held,
        "oldest_ready_at": summary.oldest_ready_at,
        "feeds": [feed(name, summary.feeds.get(name), now) for name in QUIET_AFTER],
        "trouble_since": trouble_since,
    }


def feed(name: str, last_at: datetime | None, now: datetime) -> dict[str, Any]:
    """The health of one topic, in plain words."""
    word = FEED_NAMES.get(name, name)
    if last_at is None:
        return {"name": word, "state": "never", "last_at": None, "words": f"no {word} yet"}
    silence = now - last_at
    quiet = silence > QUIET_AFTER[name]
    words = f"{word} silent for {duration(silence)}" if quiet else f"{word} arriving"
    return {"name": word, "state": "quiet" if quiet else "arriving", "last_at": last_at, "words": words}


def marks(item: WorklistItem) -> list[dict[str, str]]:
    """How sure and how fresh: a word for the row, a sentence for the detail. Never a colour alone."""
    study = item.study
    missing = [name for name in item.missing if not NOT_WORTH_A_MARK.fullmatch(name)]
    found: list[tuple[bool, str, str, str]] = [
        (item.degraded, "degraded", "no model", "Ranked without the risk model: order target, physiology rules and age only."),
        (study.conflict, "conflict", "conflict", "An image came twice under one identifier with different content; both are kept."),
        (bool(study.rejected), "rejected", "rejected", rejections(study)),
        (study.unmatched, "unmatched", "unmatched", "No order, or no known patient, could be matched to this study yet."),
        (item.provisional, "provisional", "provisional", f"Images are still arriving ({study.instances} so far)."),
        (bool(_stale(item)), "stale", "stale data", f"Older than it should be: {', '.join(_stale(item))}."),
        (bool(missing), "missing", f"{len(missing)} missing", f"Not known: {', '.join(missing)}."),
        (study.preliminary_report, "prelim", "prelim report", "A preliminary report exists."),
    ]
    return [{"kind": kind, "word": word, "sentence": sentence} for shown, kind, word, sentence in found if shown]


def rejections(study: StudyState) -> str:
    """Which images count no more, in a sentence."""
    words = "; ".join(rejected_words(one.code, one.images) for one in study.rejected)
    return f"{words[:1].upper()}{words[1:]}: what models said of that counts no more."


def reader_marks(listed: ListedItem, now: datetime) -> list[dict[str, str]]:
    """What readers did, and that the patient has more than this one study to be read."""
    made, found = override(listed.item, now), []
    if made is not None:
        sentence = f"{made['by']} set the deadline: {made['words']}."
        found.append({"kind": f"moved-{made['direction']}", "word": f"moved {made['direction']}", "sentence": sentence})
    if others := listed.same_patient:
        sentence = f"{others} other {'study' if others == 1 else 'studies'} of this patient {'waits' if others == 1 else 'wait'}."
        found.append({"kind": "same-patient", "word": f"{others} more", "sentence": sentence})
    return found


def what(study: StudyState) -> str:
    """Modality and examination, each word once: "CT Head without contrast"."""
    return examination(study.modality, study.description or (study.body_part or "").capitalize()) or "unknown study"


def examination(modality: str | None, named: str | None) -> str:
    """The modality before the name, unless the name begins with it."""
    if modality and named and re.match(rf"{re.escape(modality)}\b", named, re.IGNORECASE):
        return named
    return " ".join(part for part in (modality, named) if part)


def where(study: StudyState) -> str:
    """The place, with the patient class before it where the place does not say it."""
    place = " ".join((study.location or "").replace("^", " ").split())
    kind = CLASSES.get(study.patient_class or "", "")
    if not place or kind.lower() == place.lower():
        return kind or "place unknown"
    return f"{kind} {place}" if kind == "ED" and not place.upper().startswith("ED") else place


def report(study: StudyState) -> str:
    """The state of the report, in words."""
    if study.closed == "reported":
        return "final report"
    return "preliminary report" if study.preliminary_report else "not reported yet"


def as_person(person: Identity | None) -> dict[str, Any] | None:
    """The direct identifiers as the page shows them."""
    if person is None:
        return None
    name, other, *_ = [*display_names(person.name), None, None]
    return {
        "name": name,
        "other_name": other,
        "patient_id": person.patient_id,
        "birth_date": birth_date(person.birth_date),
        "sex": person.sex,
    }


def display_names(name: str | None) -> list[str]:
    """Family, Given Middle from HL7 XPN or DICOM PN, in each of its writings (PS3.5 section 6.2.1: alphabetic = ideographic = phonetic)."""
    return [shown for writing in (name or "").split("=") if (shown := _one_writing(writing))]


def _one_writing(name: str) -> str:
    family, *given = (" ".join(part.split()) for part in name.split("^")[:3])
    return ", ".join(part for part in (family, " ".join(filter(None, given))) if part)


def birth_date(text: str | None) -> str | None:
    """YYYYMMDD as YYYY-MM-DD; what is not that stays as it is."""
    match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})\d*", text or "")
    return "-".join(match.groups()) if match else text


def age_text(age: float | None) -> str:
    """Years, for infants months, for newborns days; 90 stands for 90 and over."""
    if age is None:
        return "age unknown"
    if age >= 90:
        return "90+ y"
    if age >= 2:
        return f"{int(age)} y"
    days = round(age * 365.25)
    return f"{days} d" if days < 60 else f"{int(days / 30.44)} mo"


def duration(span: timedelta) -> str:
    """As in "14 min", "3 h 12 min", "2 d 4 h"."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return "under 1 min"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def by_person(items: list[ListedItem], people: Mapping[str, Identity], now: datetime) -> list[dict[str, Any]]:
    """The rows of a page, with their names."""
    return [row(listed, people.get(listed.item.patient), now) for listed in items]


def _stale(item: WorklistItem) -> list[str]:
    return [reason.evidence.label for reason in item.reasons if reason.evidence.stale]


def _minutes(span: timedelta) -> float:
    return round(span.total_seconds() / 60, 1)
