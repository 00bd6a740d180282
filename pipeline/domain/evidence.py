"""All reasons that the rules see: from a patient's physiology, and from what a study's order says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from pipeline.domain import critical_labs, image_heads, indications, news2
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.critical_labs import CRITICAL_FLAGS, Critical
from pipeline.domain.readings import FlaggedResult, Readings
from pipeline.domain.site import DEFAULT, Policy
from pipeline.domain.urgency import severity_of
from schemas.assessments import Evidence, StudyState
from schemas.codes import RejectionCode

_PARAMETER_WORDS = {
    "respiration": "respiratory rate",
    "spo2": "SpO2",
    "oxygen": "air or oxygen",
    "systolic": "blood pressure",
    "pulse": "pulse",
    "consciousness": "consciousness",
    "temperature": "temperature",
}
_REJECTED_WORDS: dict[RejectionCode, str] = {
    "113001": "for quality reasons",
    "113037": "for patient safety, perhaps not of this patient",
    "113038": "for a wrong worklist entry, perhaps not of this patient",
}
_FLAG_WORDS = {"LL": "below the laboratory's panic limit", "HH": "above the laboratory's panic limit", "AA": "very abnormal"}


def gather(
    readings: Readings,
    studies: Sequence[StudyState],
    flags: Iterable[FlaggedResult],
    as_of: datetime,
    age: float | None,
    policy: Policy = DEFAULT,
) -> list[Evidence]:
    """What a patient's values say at `as_of`, the strongest first; it holds for each of the patient's studies.

    What is not known is said as kind "missing", with severity 0: it moves nothing, and is never taken for normal.
    `studies` tell whether the patient is in the emergency department, where vital signs age sooner.
    """
    emergency = any(policy.setting(study.patient_class) == "emergency" for study in studies)
    valid = policy.vitals_valid_emergency if emergency else policy.vitals_valid
    found = [
        *_news2(readings, as_of, age, valid, policy),
        *(_critical_lab(critical, as_of) for critical in critical_labs.find(readings, as_of, age, policy.critical_labs)),
        *_flagged(flags, as_of),
        *_missing(readings, as_of, valid),
    ]
    return sorted(found, key=lambda evidence: -evidence.severity)


def of_study(study: StudyState, policy: Policy = DEFAULT) -> list[Evidence]:
    """What its order suspects, what an image model saw, and which images count no more: they hold for this study alone."""
    return [*_suspected(study), *image_heads.evidence(study, policy), *_rejected(study)]


def _suspected(study: StudyState) -> list[Evidence]:
    return [
        Evidence(
            kind="indication",
            code=suspicion.bundle.code,
            label=f"{suspicion.bundle.label} suspected",
            severity=severity_of(suspicion.bundle.minutes),
            at=study.requested_at,
            event_id=study.event_id,
            reverts_when="the order's indication no longer names it",
        )
        for suspicion in indications.find(study.indication, study.description)
    ]


def _rejected(study: StudyState) -> list[Evidence]:
    """They pull nothing: they tell why what was said of an image is said no more."""
    return [
        Evidence(
            kind="rejection",
            code=one.code,
            label=f"{rejected_words(one.code, one.images)}, {one.at:%Y-%m-%d %H:%MZ}",
            severity=0.0,
            at=one.at,
            event_id=one.event_id,
        )
        for one in study.rejected
    ]


def rejected_words(code: RejectionCode, images: int) -> str:
    """ "image rejected for quality reasons"."""
    return f"{'image' if images == 1 else f'{images} images'} rejected {_REJECTED_WORDS[code]}"


def clock(at: datetime, as_of: datetime) -> str:
    """ "09:12Z", with the date when it was more than half a day ago; the page shows the site's zone instead."""
    return f"{at:%H:%MZ}" if as_of - at <= timedelta(hours=12) else f"{at:%Y-%m-%d %H:%MZ}"


def told(at: datetime, when: str | None, as_of: datetime) -> str:
    """ "at 09:12Z", or "of 2026-03-01" where the source told no time of day."""
    return f"at {clock(at, as_of)}" if when is None else f"of {when}"


def _news2(readings: Readings, as_of: datetime, age: float | None, valid: timedelta, policy: Policy) -> Iterator[Evidence]:
    assessed = news2.assess(readings, as_of, age, valid, policy.news2_scale)
    if assessed is None:
        return
    found, newest = assessed.score, assessed.newest
    gaps = ", ".join(_PARAMETER_WORDS[name] for name in found.missing)
    older = len(found.points) - assessed.fresh
    known = f"{len(found.points)} of 7" + (f", {older} older than {_hours(valid)}" if older else "") + (f"; no {gaps}" if gaps else "")
    minutes = found.minutes
    yield Evidence(
        kind="news2",
        code="news2",
        label=f"NEWS2 {found.total} ({known})",
        severity=0.0 if minutes is None else severity_of(minutes),
        value=float(found.total),
        unit="{score}",
        at=newest.at,
        when=newest.when,
        event_id=newest.event_id or None,
        source=newest.source or None,
        stale=assessed.stale,
        reverts_when=_news2_reverts(found),
    )


def _news2_reverts(found: news2.News2) -> str | None:
    bands = {"high": "NEWS2 6 or below", "medium": "NEWS2 4 or below", "low-medium": "no single parameter at 3", "low": None}
    return bands[found.band]


def _critical_lab(critical: Critical, as_of: datetime) -> Evidence:
    observable, reading, limit = BY_NAME[critical.name], critical.reading, critical.limit
    unit = "" if observable.unit.startswith(("{", "[")) else f" {observable.unit.partition('{')[0]}"
    by_laboratory = reading.flag in CRITICAL_FLAGS
    why = _FLAG_WORDS[str(reading.flag)] if by_laboratory or limit is None else f"critical {limit.words}"
    label = f"{observable.label} {reading.value:g}{unit} {told(reading.at, reading.when, as_of)}, {why}"
    return Evidence(
        kind="critical-lab",
        code=critical.name,
        label=label + (f", older than {_hours(critical_labs.valid_for(critical.name))}" if critical.stale else ""),
        severity=severity_of(critical.minutes),
        value=reading.value,
        unit=observable.unit,
        at=reading.at,
        when=reading.when,
        event_id=reading.event_id or None,
        source=reading.source or None,
        stale=critical.stale,
        reverts_when=f"{observable.label} back to {limit.safe_words}"
        if limit
        else f"a {observable.label} that the laboratory does not mark",
    )


def _flagged(flags: Iterable[FlaggedResult], as_of: datetime) -> Iterator[Evidence]:
    """Results outside the catalogue: the newest of each code, while it is critical."""
    newest: dict[str, FlaggedResult] = {}
    for result in flags:
        if result.code not in newest or newest[result.code].at <= result.at:
            newest[result.code] = result
    valid = critical_labs.DEFAULT_VALID
    for result in newest.values():
        if result.flag in CRITICAL_FLAGS and result.at >= as_of - 2 * valid:
            yield Evidence(
                kind="lab-flag",
                code=result.code,
                label=f"{result.label} {result.value} {told(result.at, result.when, as_of)}, {_FLAG_WORDS[result.flag]}",
                severity=severity_of(critical_labs.AT_LIMIT_MINUTES),
                at=result.at,
                when=result.when,
                event_id=result.event_id or None,
                source=result.source or None,
                stale=result.at < as_of - valid,
                reverts_when=f"a {result.label} that the laboratory does not mark",
            )


def _missing(readings: Readings, as_of: datetime, vitals_valid: timedelta) -> Iterator[Evidence]:
    for kind, words, valid in (("vital", "vital signs", vitals_valid), ("lab", "laboratory results", critical_labs.DEFAULT_VALID)):
        if not any(series and series[-1].at >= as_of - valid for name, series in readings.items() if BY_NAME[name].kind == kind):
            yield Evidence(kind="missing", code=f"{kind}s", label=f"{words} of the last {_hours(valid)}", severity=0.0)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"
