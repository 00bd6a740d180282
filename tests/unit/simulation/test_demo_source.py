"""The demo's source: the real data where it is named, in the bounded stream and in the endless one."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.adapters.dicom.header import Header
from pipeline.adapters.dicom.rejection import rejection_note
from pipeline.errors import StackError
from pipeline.simulation.recorded import COMPOSITE, recorded

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_another_run_is_of_other_studies(shared_data: Path) -> None:
    """Sent again under the same UIDs, a film of another name would be a second version of the first: a conflict, as the list says."""
    films = [
        [message.dicom for message in recorded(shared_data, NOW, run) if getattr(message.dicom, "ImageComments", None) == COMPOSITE]
        for run in ("000001", "000002")
    ]
    uids = [{film.SOPInstanceUID for film in each if film is not None} for each in films]

    assert len(uids[0]) == len(uids[1]) == 60
    assert not uids[0] & uids[1]


def test_some_films_are_rejected(shared_data: Path) -> None:
    """By notes that the gateway understands: on a film that came before, of the same patient and study."""
    sent = [message.dicom for message in recorded(shared_data, NOW, "000001") if message.dicom is not None]
    films = {film.SOPInstanceUID: film for film in sent if getattr(film, "ImageComments", None) == COMPOSITE}
    order, notes = [one.SOPInstanceUID for one in sent], [one for one in sent if one.Modality == "KO"]

    assert len(notes) == 3
    for note in notes:
        read = rejection_note(Header(note, ExplicitVRLittleEndian))
        assert read is not None and read.code == "113001"
        [[study, [instance]]] = read.instances.items()
        film = films[instance]
        assert (film.StudyInstanceUID, film.PatientID, film.AccessionNumber) == (study, note.PatientID, note.AccessionNumber)
        assert order.index(film.SOPInstanceUID) < order.index(note.SOPInstanceUID)


def test_the_endless_demo_takes_the_source(shared_data: Path) -> None:
    """Not the generated hospital, where a folder is named."""
    from pipeline.cli import demo

    messages = demo._messages(shared_data, demo.Plan(studies=2), lambda at: NOW + at, NOW)

    assert any(COMPOSITE.encode() in (message.hl7 or b"") for message in islice(messages, 400))


def test_a_source_that_is_none_is_told_before_anything_starts(tmp_path: Path) -> None:
    """A word about the folder, not a stack that starts and stops again for it."""
    from pipeline.cli import demo

    with pytest.raises(StackError, match=r"holds no cxr-hannover/data\.csv"):
        demo.demo(data=tmp_path / "stack", source=tmp_path)
    assert list(tmp_path.iterdir()) == []
