"""What of a worklist item is worth an alert, and what is not worth another one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_
from datetime import datetime

from msgspec.structs import replace

from pipeline.domain import escalation, radlex, report_words
from pipeline.domain.escalation import Alert, Muted
from pipeline.domain.escalation_policy import Category, EscalationPolicy, Trigger
from pipeline.domain.evidence import rejected_words
from pipeline.domain.urgency import minutes_of
from schemas.assessments import Evidence
from schemas.worklist import WorklistItem

_MOST_FINDINGS = 3
_CODE_STRING = re.compile(r"[A-Z0-9_]{1,16}")
_REPORT, _REVISED = "report:", "revised:"
"""Begin the signs of a report that a model contradicts, and of a preliminary report that the final one contradicts."""
_OF_REPORTS = (_REPORT, _REVISED)
OF_MODELS: frozenset[Trigger] = frozenset({"finding", "model-risk"})
"""A model's word: silent in a shift in which too few of them were right."""
_OF_PATIENT: frozenset[Trigger] = OF_MODELS | {"critical"}
"""Told of the patient rather than of the study: once is enough for all of the patient's studies."""
_SAYS_MORE: frozenset[Trigger] = frozenset({"critical", "finding"})
"""While one of these is open, that the study's deadline has passed too is no second message."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reason for an alert. signs -> minutes; `fresh`: whether any of it is recent enough to raise one.

    emergent: category 1, whatever the site's rule for the trigger says.
    """

    trigger: Trigger
    signs: Mapping[str, float]
    finding: str
    identified_at: datetime
    fresh: bool = True
    radlex: str | None = None
    emergent: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What this shift has borne so far. raised: alerts of categories 2 and 3. judged, confirmed: the model's."""

    raised: int = 0
    judged: int = 0
    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """An alert after an item was looked at, the event that led there, and a word on it for the history; None: not worth a line."""

    alert: Alert
    event: escalation.Event
    note: str | None


def candidates(item: WorklistItem, now: datetime, policy: EscalationPolicy) -> Iterator[Candidate]:
    """What the item gives cause for, while it is open and unread."""
    critical = [reason.evidence for reason in item.reasons if _is_critical(reason.evidence, policy)]
    if critical:
        yield Candidate(
            "critical",
            {f"{one.kind}:{one.code}": round(minutes_of(one.severity), 1) for one in critical},
            _listed(critical),
            item.ranked_at,
            fresh=any(not one.stale for one in critical),
        )
    yield from _of_pictures(item, policy)
    risk = None if item.risk is None else item.risk.probability
    if policy.risk_from is not None and risk is not None and risk >= policy.risk_from:
        yield Candidate("model-risk", {"risk": _doubt(risk)}, f"model risk {risk:.2f}", item.ranked_at)
    if item.due_at <= now:
        yield Candidate("deadline", {"deadline": 0.0}, f"should have been read by {item.due_at:%H:%MZ}", item.due_at)
    if item.study.conflict:
        yield Candidate("discrepancy", {"conflict": 0.0}, "an image came twice under one identifier with different content", item.ranked_at)


def may_matter(item: WorklistItem, now: datetime, policy: EscalationPolicy) -> bool:
    """Whether an item without an alert could get one."""
    return any(candidates(item, now, policy)) or of_report(item, policy) is not None


def of_report(item: WorklistItem, policy: EscalationPolicy) -> Candidate | None:
    """Where the final report contradicts its preliminary one, or a model both; of several the preliminary one's come first."""
    told = [*_of_revision(item), *sorted(_of_model(item, policy), key=lambda one: one.doubt)]
    if not told:
        return None
    codes = [one.sign.partition(":")[2] for one in told]
    return Candidate(
        "discrepancy",
        {one.sign: one.doubt for one in told},
        " · ".join(one.words for one in told[:_MOST_FINDINGS]),
        item.ranked_at,
        radlex=next((radlex.FINDINGS[code] for code in codes if code in radlex.FINDINGS), None),
        emergent=any(one.missed for one in told),
    )


@dataclass(frozen=True, slots=True)
class _Contradiction:
    """doubt: see `_doubt`. missed: somebody may have acted on a report that denied what nobody may lose minutes with."""

    sign: str
    doubt: float
    words: str
    missed: bool = False


def _of_revision(item: WorklistItem) -> Iterator[_Contradiction]:
    for before in item.study.revised:
        named = report_words.finding(before.code)
        if named is not None:
            how, missed = ("affirms", True) if before.word == "denied" else ("denies", False)
            words = f"the final report {how} {named.label}, which the preliminary one {before.word}"
            yield _Contradiction(f"{_REVISED}{named.code}", 0.0, words, missed and named.code in radlex.EMERGENT)


def _of_model(item: WorklistItem, policy: EscalationPolicy) -> Iterator[_Contradiction]:
    """What an image model is sure of and the report denies or does not mention; a report of which nothing is understood denies nothing."""
    reported = item.study.reported
    if reported is None or policy.discrepancy_from is None:
        return
    words = {each.code: each.word for each in reported}
    for seen in (reason.evidence for reason in item.reasons if reason.evidence.kind == "image"):
        named, probability = report_words.finding(seen.code), 1.0 if seen.value is None else seen.value
        if named is None or probability < policy.discrepancy_from or words.get(named.code) in ("affirmed", "uncertain"):
            continue
        how = "denies" if words.get(named.code) == "denied" else "does not mention"
        sure = "" if seen.value is None else f" with {probability:.2f}"
        told = f"the report {how} {named.label}, which an image model sees{sure}"
        yield _Contradiction(f"{_REPORT}{named.code}", _doubt(probability), told)


def _of_pictures(item: WorklistItem, policy: EscalationPolicy) -> Iterator[Candidate]:
    """The findings that an image model is as sure of as the site wants to be told, the surest first."""
    if policy.finding_from is None:
        return
    images = [reason.evidence for reason in item.reasons if reason.evidence.kind == "image"]
    told = sorted(
        ((one.value, one) for one in images if one.value is not None and one.value >= policy.finding_from), key=lambda pair: -pair[0]
    )
    if told:
        names = [named.code for _, one in told if (named := report_words.finding(one.code)) is not None]
        yield Candidate(
            "finding",
            {f"image:{one.code}": _doubt(probability) for probability, one in told},
            " · ".join(one.label for _, one in told[:_MOST_FINDINGS]),
            item.ranked_at,
            radlex=next((radlex.FINDINGS[name] for name in names if name in radlex.FINDINGS), None),
            emergent=not radlex.EMERGENT.isdisjoint(names),
        )


def _doubt(probability: float) -> float:
    """Stands where minutes do: the less, the more pressing."""
    return round(100 * (1 - probability), 1)


def judge(
    item: WorklistItem, known: Sequence[Alert], of_patient: Sequence[Alert], usage: Usage, now: datetime, policy: EscalationPolicy
) -> list[Verdict]:
    """What becomes of the study's alerts. known: the study's own. of_patient: those of the same patient's other studies."""
    mine = {alert.trigger: alert for alert in known}
    if item.state == "closed" or item.study.preliminary_report:
        return _read(item, known, usage, now, policy)
    found = {candidate.trigger: candidate for candidate in candidates(item, now, policy) if policy.rules[candidate.trigger].on}
    verdicts: list[Verdict] = []
    for trigger in sorted(found, key=_last):
        others = [*known, *of_patient, *(verdict.alert for verdict in verdicts)]
        verdict = _judge_one(item, found[trigger], mine.get(trigger), others, usage, now, policy)
        verdicts += [verdict] if verdict is not None else []
    gone = [alert for trigger, alert in mine.items() if trigger not in found and alert.state in escalation.STANDING]
    return [
        *verdicts,
        *(_verdict(item, alert, "withdraw", _vanished(item, alert), now) for alert in gone),
    ]


def _vanished(item: WorklistItem, alert: Alert) -> str:
    """Why nothing is found any more, where that can be told: none of the pictures that are left has been judged."""
    rejected = item.study.rejected if alert.trigger == "finding" and item.study.image is None else ()
    return rejected_words(rejected[0].code, rejected[0].images) if rejected else "the reason has vanished"


def _last(trigger: Trigger) -> bool:
    """A deadline that passes because of a critical value is that value's alert: it is judged when the others stand."""
    return trigger == "deadline"


def is_worse(before: Mapping[str, float], after: Mapping[str, float], policy: EscalationPolicy) -> bool:
    """A sign that was not there, or one that now leaves clearly less time. Persistent abnormality without change is no news."""
    return any(key not in before or minutes < before[key] * (1 - policy.worse_by) for key, minutes in after.items())


def of_operations(subject: str, trigger: Trigger, finding: str, since: datetime, now: datetime, policy: EscalationPolicy) -> Alert:
    """An alert that no study stands behind: the model or a feed is down."""
    return escalation.started(_blank(subject, trigger, "", finding, since, now, policy), now, policy)


def _read(item: WorklistItem, known: Sequence[Alert], usage: Usage, now: datetime, policy: EscalationPolicy) -> list[Verdict]:
    """A study that is read needs nobody any more, but for what its reports, or report and model, do not agree on."""
    against = of_report(item, policy) if item.study.closed != "cancelled" and policy.rules["discrepancy"].on else None
    mine = next((alert for alert in known if alert.trigger == "discrepancy"), None)
    rest = [alert for alert in known if alert is not mine]
    if against is not None:
        verdict = _judge_one(item, against, mine, known, usage, now, policy)
        return [*_closed(item, rest, now), *([verdict] if verdict is not None else [])]
    if mine is not None and mine.state in escalation.STANDING and any(sign.startswith(_OF_REPORTS) for sign in mine.signs):
        return [*_closed(item, rest, now), _verdict(item, mine, "withdraw", "the contradiction is gone", now)]
    return _closed(item, known, now)


def _closed(item: WorklistItem, known: Iterable[Alert], now: datetime) -> list[Verdict]:
    cancelled = item.study.closed == "cancelled"
    event: escalation.Event = "withdraw" if cancelled else "read"
    note = "the order was cancelled" if cancelled else "reported" if item.study.closed else "a preliminary report is there"
    verdicts = [_verdict(item, alert, event, note, now) for alert in known if alert.state in escalation.STANDING]
    return verdicts if cancelled else [with_(one, alert=replace(one.alert, confirmed=_borne_out(one.alert, item))) for one in verdicts]


def _borne_out(alert: Alert, item: WorklistItem) -> bool | None:
    """Whether the report affirms a finding that the alert tells of, or denies all that it tells of; None: it judges neither way."""
    words = {each.code: each.word for each in item.study.reported or ()}
    kinds = [sign.partition(":") for sign in alert.signs]
    named = [report_words.finding(code) if kind == "image" else None for kind, _, code in kinds]
    said = [None if each is None else words.get(each.code) for each in named]
    return True if "affirmed" in said else False if said and set(said) == {"denied"} else None


def _verdict(item: WorklistItem, alert: Alert, event: escalation.Event, note: str, now: datetime) -> Verdict:
    after = escalation.apply(alert, event, now)
    return Verdict(replace(after, context_version=item.context_version), event, note)


def _judge_one(
    item: WorklistItem,
    candidate: Candidate,
    known: Alert | None,
    others: Sequence[Alert],
    usage: Usage,
    now: datetime,
    policy: EscalationPolicy,
) -> Verdict | None:
    pressing = known is not None and candidate.emergent and known.category > 1
    if known is not None and known.is_open and not pressing:
        return _changed(item, candidate, known, now, policy)
    if not candidate.fresh or (known is not None and not pressing and not _speaks_again(known, candidate, policy)):
        return None
    muted = _muted(item, candidate, others, usage, now, policy)
    if muted is not None and known is not None and known.is_open:
        return _changed(item, candidate, known, now, policy)
    if muted is not None and known is not None and known.state in ("suppressed", "acknowledged"):
        return None
    base = known or _blank(item.study.study_uid, candidate.trigger, what(item), candidate.finding, candidate.identified_at, now, policy)
    told = replace(
        base,
        study_uid=item.study.study_uid,
        patient=item.patient,
        category=_category(candidate, policy),
        what=what(item),
        finding=candidate.finding,
        signs=dict(candidate.signs),
        radlex=candidate.radlex,
        identified_at=candidate.identified_at,
        context_version=item.context_version,
    )
    if muted is None:
        raised = escalation.started(told, now, policy) if known is None else escalation.raised(told, now, policy)
        return Verdict(raised, "raise", candidate.finding)
    return Verdict(replace(told, state="suppressed", muted=muted, next_at=None, raised_at=now, changed_at=now), "mute", muted)


def _speaks_again(known: Alert, candidate: Candidate, policy: EscalationPolicy) -> bool:
    """What came back after it had vanished, what was silent for a reason that may be gone, and what has become worse."""
    silenced = known.state == "suppressed" and known.muted in ("duplicate", "budget")
    return known.state == "withdrawn" or silenced or is_worse(known.signs, candidate.signs, policy)


def _changed(item: WorklistItem, candidate: Candidate, known: Alert, now: datetime, policy: EscalationPolicy) -> Verdict | None:
    """An open alert follows its reasons, without another message: the next step tells what is true then."""
    if dict(candidate.signs) == known.signs and candidate.finding == known.finding and item.patient == known.patient:
        return None
    after = escalation.apply(known, "change", now)
    after = replace(after, signs=dict(candidate.signs), finding=candidate.finding, radlex=candidate.radlex, patient=item.patient)
    after = replace(after, category=_category(candidate, policy))
    same = known.signs.keys() == candidate.signs.keys() and not is_worse(known.signs, candidate.signs, policy)
    return Verdict(replace(after, context_version=item.context_version), "change", None if same else candidate.finding)


def _muted(
    item: WorklistItem, candidate: Candidate, others: Sequence[Alert], usage: Usage, now: datetime, policy: EscalationPolicy
) -> Muted | None:
    uid = item.study.study_uid
    if candidate.trigger == "deadline" and any(one.study_uid == uid and one.trigger in _SAYS_MORE and one.is_open for one in others):
        return "duplicate"
    for other in others:
        if other.study_uid == uid:
            if other.trigger == candidate.trigger and _acknowledged_lately(other, candidate, now, policy):
                return "persistent"
            continue
        same = other.trigger == candidate.trigger and candidate.trigger in _OF_PATIENT
        if not same or is_worse(other.signs, candidate.signs, policy):
            continue
        if other.is_open:
            return "duplicate"
        if other.state in ("acknowledged", "resolved") and now - other.changed_at < policy.remembered:
            return "persistent"
    return "budget" if _over_budget(candidate, usage, policy) else None


def _acknowledged_lately(known: Alert, candidate: Candidate, now: datetime, policy: EscalationPolicy) -> bool:
    """Gone for a while and back, as a score that swings about its limit, after somebody had taken it in hand: no news."""
    recent = known.acknowledged_at is not None and now - known.acknowledged_at < policy.remembered
    return known.state == "withdrawn" and recent and not is_worse(known.signs, candidate.signs, policy)


def _category(candidate: Candidate, policy: EscalationPolicy) -> Category:
    return 1 if candidate.emergent else policy.rules[candidate.trigger].category


def _over_budget(candidate: Candidate, usage: Usage, policy: EscalationPolicy) -> bool:
    budget = policy.budget
    if _category(candidate, policy) == 1:
        return False
    wrong = usage.judged >= budget.ppv_after and usage.confirmed < budget.ppv_min * usage.judged
    return usage.raised >= budget.alerts_max or (candidate.trigger in OF_MODELS and wrong)


def _blank(
    subject: str, trigger: Trigger, what: str, finding: str, identified_at: datetime, now: datetime, policy: EscalationPolicy
) -> Alert:
    return Alert(
        id=escalation.alert_id(subject, trigger),
        subject=subject,
        trigger=trigger,
        category=policy.rules[trigger].category,
        state="notified",
        raised_at=now,
        ladder_from=now,
        identified_at=identified_at,
        changed_at=now,
        what=what,
        finding=finding,
    )


def _is_critical(evidence: Evidence, policy: EscalationPolicy) -> bool:
    if evidence.kind == "news2":
        return evidence.value is not None and evidence.value >= policy.news2_from
    return evidence.kind in ("critical-lab", "lab-flag")


def _listed(found: Sequence[Evidence]) -> str:
    words = [_safe(one) for one in sorted(found, key=lambda one: -one.severity)]
    more = f" · {len(words) - _MOST_FINDINGS} more" if len(words) > _MOST_FINDINGS else ""
    return " · ".join(words[:_MOST_FINDINGS]) + more


def _safe(evidence: Evidence) -> str:
    """A flagged result outside the catalogue carries the source's own text, which no message may pass on."""
    if evidence.kind == "lab-flag":
        when = f" of {evidence.when}" if evidence.when else f" at {evidence.at:%H:%MZ}" if evidence.at else ""
        return f"a result that the laboratory marks as critical{when}"
    return evidence.label


def what(item: WorklistItem) -> str:
    """Modality and body part, where they are code strings (PS3.5 CS), so that no name can hide in them. A description is free text."""
    parts = (item.study.modality or "", item.study.body_part or "")
    return " ".join(part for part in parts if _CODE_STRING.fullmatch(part)) or "study"


def category_words(category: Category) -> str:
    """What a person reads."""
    return {1: "CRITICAL", 2: "urgent", 3: "to do"}[category]
