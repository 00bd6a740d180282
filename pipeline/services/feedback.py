"""Readers' words on a finding as pairs to learn from: each picture with what was known of its patient when it was taken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.domain import model_inputs
from pipeline.domain.catalogue import OBSERVABLES
from pipeline.domain.feedback import outcomes
from pipeline.domain.imaging import rejected_pictures
from pipeline.errors import NotFound
from pipeline.ports import FeedbackStore, ListedItem, WorklistReader
from schemas.events import AnyEvent, ImagingEvent, Observation, ObservationEvent
from schemas.topics import IMAGING, LABS, VITALS

COLUMNS = ("study", "patient", "image", "outcome", "observations", "text", "date", "projection", "scanner", "age", "sex")
"""Of the manifest that `finetune` takes."""
EVENTS_MAX = 20_000
"""Newest facts of a patient that are read for a pair."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """rows: a manifest's. contradicted: pictures on which readers differ. forgotten: whose study is kept no more. rejected: by a note."""

    rows: list[dict[str, str]]
    contradicted: int
    forgotten: int
    rejected: int


async def pairs(store: FeedbackStore, worklist: WorklistReader, finding: str) -> Pairs:
    """One row a picture on whose `finding` readers agree with each other. Raises Unavailable."""
    rows, contradicted, forgotten, rejected = [], 0, 0, 0
    for (study_uid, picture, _), shows in outcomes(await store.of_finding(finding)).items():
        if shows is None:
            contradicted += 1
            continue
        try:
            listed = await worklist.get(study_uid)
        except NotFound:
            forgotten += 1
            continue
        events = await worklist.patient_events(listed.item.patient, EVENTS_MAX, [IMAGING.name, LABS.name, VITALS.name])
        taken = next((one for one in events if isinstance(one, ImagingEvent) and (one.uri or "").endswith(f"/{picture}.dcm")), None)
        if taken is not None and taken.uri in rejected_pictures(events):
            rejected += 1
            continue
        rows.append(_row(listed, picture, shows, taken, events))
    return Pairs(rows, contradicted, forgotten, rejected)


def _row(listed: ListedItem, picture: str, shows: bool, taken: ImagingEvent | None, events: Sequence[AnyEvent]) -> dict[str, str]:
    item, study = listed.item, listed.item.study
    at = taken.acquired.utc if taken else study.acquired_at or study.ready_at
    return {
        "study": study.study_uid,
        "patient": item.patient,
        "image": picture,
        "outcome": str(int(shows)),
        "observations": json.dumps(list(_before(events, at))),
        "text": "\n".join(filter(None, model_inputs.words([study]))),
        "date": at.isoformat(),
        "projection": taken.view or "" if taken else "",
        "scanner": taken.source if taken else "",
        "age": "" if item.age is None else f"{item.age:g}",
        "sex": item.sex,
    }


def _before(events: Sequence[AnyEvent], at: datetime) -> Iterator[tuple[str, float, float]]:
    """Code, value and hours before the picture; a correction stands in place of what it corrects. events: newest first."""
    told: dict[str, Observation] = {}
    for event in reversed(events):
        if isinstance(event, ObservationEvent):
            told.update({observation.key: observation for observation in event.observations})
    for one in told.values():
        hours = (at - one.effective.utc).total_seconds() / 3600
        if one.value is not None and one.status != "deleted" and one.loinc in OBSERVABLES and hours >= 0:
            yield one.loinc, one.value, round(hours, 3)
