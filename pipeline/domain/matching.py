"""Which order and which reports belong to a study, whichever came first: a pure function of all that is known of the patient.

Ties are tried from the surest to the weakest: the Study Instance UID in the order, the accession number, the placer order number, and
last the same patient with the same modality (and a compatible body part) within 7 days, when exactly one order qualifies. Such a guess
lends a study its order's priority, but must not close it for another's sake: neither a cancelled order nor one that was reported before
the study came is guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Literal

from pipeline.domain.imaging import Order, Report, Study
from schemas.assessments import StudyState
from schemas.findings import Reported

NEAR = timedelta(days=7)
MatchedBy = Literal["study-uid", "accession", "order", "patient-and-modality"]
Match = tuple[Order, MatchedBy]
Closed = Literal["reported", "cancelled"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A study as it stands, and when anything was last learned of it, its order or its reports. picture: claim check of its newest film."""

    state: StudyState
    last: datetime
    picture: str | None = None


def resolve(studies: Collection[Study], orders: Collection[Order], reports: Collection[Report]) -> list[Resolved]:
    """Every study that has an image, by (ready_at, study_uid)."""
    ready = sorted((study for study in studies if study.first is not None), key=_arrival)
    matches = match(ready, orders, reports)
    return [_resolved(study, matches.get(study.uid), reports) for study in ready]


def match(ready: Iterable[Study], orders: Collection[Order], reports: Collection[Report]) -> dict[str, Match]:
    """study_uid -> its order and how they found each other. Studies in order of arrival: the first of two takes the only order."""
    matches: dict[str, Match] = {}
    loose = []
    for study in ready:
        if found := _by_number(study, orders):
            matches[study.uid] = found
        else:
            loose.append(study)
    taken = {order.key for order, _ in matches.values()}
    for study in loose:
        candidates = [order for order in orders if order.key not in taken and _may_be(study, order, reports)]
        if len(candidates) == 1:
            matches[study.uid] = (candidates[0], "patient-and-modality")
            taken.add(candidates[0].key)
    return matches


def _by_number(study: Study, orders: Collection[Order]) -> Match | None:
    accession, number = study.words.get("accession"), study.words.get("order")
    ties: tuple[tuple[MatchedBy, list[Order]], ...] = (
        ("study-uid", [order for order in orders if order.words.get("study_uid") == study.uid]),
        ("accession", [order for order in orders if accession is not None and accession in (order.words.get("accession"), order.key)]),
        ("order", [order for order in orders if order.key == number]),
    )
    for tie, found in ties:
        if found:
            return max(found, key=_standing), tie
    return None


def _standing(order: Order) -> tuple[bool, object, str]:
    """Of several orders under one number (one is cancelled, another takes its place) the newest that stands."""
    return not order.cancelled, order.last, order.key


def _may_be(study: Study, order: Order, reports: Collection[Report]) -> bool:
    modality, ordered = study.modality, order.words.get("modality")
    if order.cancelled or modality is None or modality != ordered or not _compatible(study, order):
        return False
    ready = _arrival(study)[0]
    if abs(order.at - ready) > NEAR:
        return False
    return not any(report.closing and report.last is not None and report.last[0] < ready for report in _about_order(order, reports))


def _compatible(study: Study, order: Order) -> bool:
    """Nothing that both name differs."""
    mine, theirs = study.words, order.words
    if theirs.get("study_uid") is not None:
        return False
    if None not in (mine.get("accession"), theirs.get("accession")):
        return False
    part, ordered = mine.get("body_part"), theirs.get("body_part")
    return part is None or ordered is None or part.casefold() == ordered.casefold()


def _about_order(order: Order, reports: Iterable[Report]) -> Iterator[Report]:
    accession = order.words.get("accession")
    for report in reports:
        if report.words.get("order") == order.key or report.words.get("accession") in (accession or order.key, order.key):
            yield report


def _about_study(study: Study, order: Order | None, reports: Iterable[Report]) -> Iterator[Report]:
    """A report that names a study belongs to that study alone; one that does not, to what has its accession or order number."""
    accession, number = study.words.get("accession"), study.words.get("order")
    of_order = [] if order is None else [report.key for report in _about_order(order, reports)]
    for report in reports:
        named = report.words.get("study_uid")
        if named is not None:
            if named == study.uid:
                yield report
        elif (
            report.key in of_order
            or (accession is not None and report.words.get("accession") == accession)
            or (number is not None and report.words.get("order") == number)
        ):
            yield report


def _resolved(study: Study, match: Match | None, reports: Collection[Report]) -> Resolved:
    order = match[0] if match else None
    about = list(_about_study(study, order, reports))
    lasts = [item.last for item in (study, order, *about) if item is not None and item.last is not None]
    cancelled = order is not None and order.cancelled
    closed: Closed | None = "cancelled" if cancelled else None
    if any(report.closing for report in about):
        closed = "reported"
    return Resolved(_state(study, match, closed, about), max(lasts)[0], study.picture[1] if study.picture else None)


def _reported(about: Collection[Report]) -> tuple[Reported, ...] | None:
    """Of several reports on one finding the newest counts; None where none is understood."""
    understood = [(report.last, report.key, found) for report in about if (found := report.findings) is not None]
    told = {code: word for *_, found in sorted(understood, key=itemgetter(0, 1)) for code, word in found.items()}
    return tuple(Reported(code, word) for code, word in sorted(told.items())) if understood else None


def _revised(about: Collection[Report]) -> tuple[Reported, ...]:
    """What a preliminary report affirmed and the final one denies, or the other way round, in the preliminary one's word."""
    by_age = sorted(about, key=lambda report: (report.last is not None, report.last, report.key))
    first = {code: word for report in by_age for code, word in report.provisional.items()}
    final = {code: word for report in by_age if report.closing for code, word in (report.findings or {}).items()}
    return tuple(Reported(code, word) for code, word in sorted(first.items()) if {word, final.get(code)} == {"affirmed", "denied"})


def _state(study: Study, match: Match | None, closed: Closed | None, about: Collection[Report]) -> StudyState:
    order, tie = match or (None, None)
    mine = study.words.get
    theirs = order.words.get if order is not None else lambda name: None
    priority, code = theirs("priority") or (mine("priority"), None)
    ready_at, event_id = _arrival(study)
    return StudyState(
        study_uid=study.uid,
        ready_at=ready_at,
        acquired_at=study.acquired,
        modality=study.modality or theirs("modality"),
        body_part=mine("body_part") or theirs("body_part"),
        description=mine("study_description") or theirs("procedure"),
        instances=study.instances,
        complete=study.complete,
        conflict=study.conflict,
        unmatched=study.unmatched,
        accession=mine("accession") or theirs("accession"),
        order=order.key if order is not None else mine("order"),
        matched_by=tie,
        priority=priority or mine("priority"),
        priority_code=code,
        deadline=theirs("deadline"),
        requested_at=theirs("requested"),
        indication=theirs("indication"),
        patient_class=theirs("patient_class") or mine("patient_class"),
        location=theirs("location") or mine("location"),
        preliminary_report=any(report.preliminary for report in about),
        reported=_reported(about),
        revised=_revised(about),
        rejected=study.rejected,
        closed=closed,
        event_id=event_id,
        image=study.image,
    )


def _arrival(study: Study) -> tuple[datetime, str]:
    assert study.first is not None
    return study.first
