"""Readers' words on a finding become rows of a manifest."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as changed

from pipeline.adapters.memory.feedback import MemoryFeedback
from pipeline.domain import model_inputs, order_words
from pipeline.domain.feedback import Feedback, outcomes
from pipeline.models.finetuning.films import Film
from pipeline.models.finetuning.pairs import read
from pipeline.ports import Fact
from pipeline.services.feedback import COLUMNS, pairs
from schemas.codec import encode
from schemas.events import ImagingEvent, Observation, ObservationEvent, Rejection
from schemas.time import Timestamp
from tests.unit.worklist.web import NOW, Web, item

WORD = Feedback("1.2.1", "1.2.1.5", "pneumonia", "agree", "Dr Ada", NOW, "chest_frontal", "1", 0.7)


@pytest.fixture
def web() -> Web:
    """Three studies."""
    return Web()


def observed(web: Web, offset: int, key: str, loinc: str, value: float, at: datetime, status: str = "final") -> None:
    seen = Observation(key=key, effective=Timestamp(at), loinc=loinc, value=value, unit="x", status=status)  # type: ignore[arg-type]
    event = ObservationEvent(
        event_id=f"o{offset}", patient="p1", source="LAB", recorded_at=NOW + timedelta(minutes=offset), observations=[seen]
    )
    web.context.add([Fact("p1", event.event_id, "observation", event.recorded_at, "labs", 0, offset, encode(event))], [])


async def test_a_pair_holds_what_was_known_when_the_picture_was_taken(web: Web) -> None:
    """Corrected values in place of the first ones, withdrawn and later ones not at all."""
    web.put(item(1, study=changed(item(1).study, indication="fever, cough")))
    film = ImagingEvent(
        event_id="i", patient="p1", source="DX1", recorded_at=NOW, study_uid="1.2.1", acquired=Timestamp(NOW), view="AP",
        uri="object:1.2.1/1/1.2.1.5.dcm",
    )  # fmt: skip
    web.context.add([Fact("p1", "i", "imaging", NOW, "imaging", 0, 1, encode(film))], [])
    hour = timedelta(hours=1)
    observed(web, 2, "a", "2524-7", 9.9, NOW - 2 * hour)
    observed(web, 3, "a", "2524-7", 3.3, NOW - 2 * hour, "corrected")
    observed(web, 4, "b", "2823-3", 4.0, NOW - hour, "deleted")
    observed(web, 5, "c", "2823-3", 5.0, NOW + hour)
    observed(web, 6, "d", "0000-0", 5.0, NOW - hour)
    store = MemoryFeedback()
    await store.add(WORD)

    [row] = (await pairs(store, web.worklist, "pneumonia")).rows

    assert set(row) == set(COLUMNS)
    told = {name: row[name] for name in ("study", "patient", "image", "outcome", "text", "projection", "scanner", "age", "sex")}
    assert list(told.values()) == ["1.2.1", "p1", "1.2.1.5", "1", "fever, cough\nHead", "AP", "DX1", "40", "F"]
    assert json.loads(row["observations"]) == [["2524-7", 3.3, 2.0]]
    assert datetime.fromisoformat(row["date"]) == NOW


async def test_what_readers_differ_on_is_left_out(web: Web) -> None:
    """Each reader's last word counts; a study that is kept no more is counted."""
    store, later = MemoryFeedback(), NOW + timedelta(minutes=1)
    for said in (
        replace(WORD, study_uid="1.2.0"), replace(WORD, study_uid="1.2.0", reader="Dr Bo", verdict="disagree"),
        replace(WORD, study_uid="1.2.2"), replace(WORD, study_uid="1.2.2", at=later, verdict="corrected", instead="effusion"),
        replace(WORD, study_uid="9.9"), replace(WORD, finding="intensive-care-7d"),
    ):  # fmt: skip
        await store.add(said)

    found = await pairs(store, web.worklist, "pneumonia")

    assert [(row["study"], row["outcome"]) for row in found.rows] == [("1.2.2", "0")]
    assert (found.contradicted, found.forgotten) == (1, 1)
    assert outcomes([WORD]) == {WORD.place: True}


async def test_a_rejected_picture_is_nothing_to_learn_from(web: Web) -> None:
    """It may be another patient's, and not worth a look."""
    base = {"patient": "p1", "source": "DX1", "recorded_at": NOW, "study_uid": "1.2.1", "acquired": Timestamp(NOW)}
    film = ImagingEvent(event_id="i", sop_uid="1.2.1.5", uri="object:1.2.1/1/1.2.1.5.dcm", **base)  # type: ignore[arg-type]
    note = ImagingEvent(event_id="n", rejection=Rejection(code="113038", instances=("1.2.1.5",)), **base)  # type: ignore[arg-type]
    web.context.add([Fact("p1", one.event_id, "imaging", NOW, "imaging", 0, n, encode(one)) for n, one in enumerate((film, note))], [])
    store = MemoryFeedback()
    await store.add(WORD)

    found = await pairs(store, web.worklist, "pneumonia")

    assert (found.rows, found.rejected) == ([], 1)


async def test_the_rows_are_a_manifest(web: Web, tmp_path: Path) -> None:
    """As a file they are taken by the check before fine-tuning, whatever the text holds."""
    web.put(item(1, study=changed(item(1).study, indication='fever, "cough"\nsince Monday')))
    store = MemoryFeedback()
    await store.add(replace(WORD, verdict="disagree"))
    observed(web, 2, "a", "2524-7", 3.3, NOW - timedelta(hours=1))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows((await pairs(store, web.worklist, "pneumonia")).rows)

    found = read(tmp_path / "pairs.csv", lambda told: Film(np.zeros((64, 64), np.uint8), told), NOW)

    [pair] = found.pairs
    assert (found.refused, found.unused_columns) == ([], ())
    assert (pair.study, pair.patient, pair.outcome, pair.digest, pair.text) == (
        "1.2.1",
        "p1",
        False,
        "1.2.1.5",
        'fever, "cough"\nsince Monday\nHead',
    )
    assert [(one.name, one.value) for one in pair.observations] == [("lactate", 3.3)]
    live = model_inputs.words([(await web.worklist.get("1.2.1")).item.study])
    assert order_words.buckets(pair.text) == order_words.buckets(*live), "a model is asked by the words that it learns from"
