"""Rejection notes: which of a patient's images count no more, and why; whatever is malformed takes nothing back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian

from pipeline.adapters.dicom.bounded import Limits
from pipeline.adapters.dicom.header import read_header
from pipeline.adapters.dicom.instance import sound_uid
from pipeline.adapters.dicom.rejection import RejectionNote, rejection_note
from pipeline.errors import Refused
from tests.dicom_objects import as_file, deflated, key_objects
from tests.unit.dicom.reading import read

STUDY, OTHER = "1.2.826.0.1.3680043.10.1", "1.2.826.0.1.3680043.10.2"
NAMED = {STUDY: ("1.2.3", "1.2.4"), OTHER: ("1.2.5",)}


@pytest.mark.parametrize("code", ["113001", "113037", "113038"])
def test_a_note_names_its_instances_by_study(tmp_path: Path, code: str) -> None:
    """Of each of the three titles; the object itself is none of the study's images."""
    instance = read(tmp_path, key_objects(code, NAMED))

    assert instance.rejection == RejectionNote(code, NAMED)  # type: ignore[arg-type]
    assert (instance.image, instance.modality, instance.study_uid) == (False, None, STUDY)


def test_what_leaves_an_archive_is_told_apart(tmp_path: Path) -> None:
    """Data Retention Policy Expired: nothing that was seen on the images is wrong for it, whichever they are."""
    assert read(tmp_path, key_objects("113039", {})).rejection == RejectionNote(None, {})


@pytest.mark.parametrize(
    "dataset",
    [
        key_objects("113000", NAMED),
        key_objects("113001", NAMED, scheme="99LOCAL"),
        key_objects("113001", NAMED, ConceptNameCodeSequence=None),
        key_objects("113001", NAMED, SOPClassUID=BasicTextSRStorage),
    ],
    ids=["of interest", "a code of somebody's own", "no title", "a report"],
)
def test_other_objects_reject_nothing(tmp_path: Path, dataset: Dataset) -> None:
    """A selection of the key images rejects none of them."""
    assert read(tmp_path, dataset).rejection is None


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, "deflated", "undefined length"])
def test_however_it_is_encoded(tmp_path: Path, syntax: str) -> None:
    """Sequences of a stated length and those that end with a delimiter."""
    dataset, path = key_objects("113001", NAMED), tmp_path / "note.dcm"
    if syntax == "undefined length":
        dataset["CurrentRequestedProcedureEvidenceSequence"].is_undefined_length = True
    path.write_bytes(deflated(dataset) if syntax == "deflated" else as_file(dataset, *([] if syntax == "undefined length" else [syntax])))

    assert rejection_note(read_header(path)) == RejectionNote("113001", NAMED)


def _without(keyword: str) -> Dataset:
    """A note in whose first study that is missing, wherever it stands."""
    dataset = key_objects("113001", NAMED)
    study: Any = dataset.CurrentRequestedProcedureEvidenceSequence[0]
    for item in (study, study.ReferencedSeriesSequence[0]):
        if keyword in item:
            delattr(item, keyword)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (key_objects("113001", {}), "malformed"),
        (key_objects("113001", {}, CurrentRequestedProcedureEvidenceSequence=None), "malformed"),
        (key_objects("113001", {**NAMED, OTHER: ()}), "malformed"),
        (_without("ReferencedSeriesSequence"), "malformed"),
        (_without("ReferencedSOPSequence"), "malformed"),
        (_without("StudyInstanceUID"), "missing-identifier"),
        (key_objects("113037", {**NAMED, OTHER: ("",)}), "missing-identifier"),
    ],
    ids=["empty", "no evidence", "no instances", "no series", "no references", "no study", "no instance"],
)
def test_a_note_with_a_gap_is_refused_as_a_whole(tmp_path: Path, dataset: Dataset, reason: str) -> None:
    """Half of it would leave images standing that nobody may read; its sender hears why."""
    with pytest.raises(Refused) as refusal:
        read(tmp_path, dataset)

    assert refusal.value.reason == reason


def test_a_note_on_too_many_instances_is_refused(tmp_path: Path) -> None:
    """It is not looked into, wherever its length is."""
    path = tmp_path / "note.dcm"
    for delimited in (False, True):
        dataset = key_objects("113038", {STUDY: [f"1.2.3.{number}" for number in range(40)]})
        dataset["CurrentRequestedProcedureEvidenceSequence"].is_undefined_length = delimited
        path.write_bytes(as_file(dataset))

        with pytest.raises(Refused, match="too-large"):
            rejection_note(read_header(path, Limits(sequence_bytes=2_000)))


def test_bytes_that_are_no_sequence_are_refused(tmp_path: Path) -> None:
    """Cut, or filled with anything."""
    body, path = as_file(key_objects("113001", NAMED)), tmp_path / "note.dcm"
    start = body.index(b"\x40\x00\x75\xa3SQ") + 12
    path.write_bytes(body[:start] + b"\xff" * 40 + body[start + 40 :])

    with pytest.raises(Refused):
        rejection_note(read_header(path))


def test_a_note_costs_no_more_than_any_header(tmp_path: Path) -> None:
    """One that ends with delimiters is parsed at once, and within the same budget."""
    dataset, path = key_objects("113001", {STUDY: [f"1.2.3.{number}" for number in range(500)]}), tmp_path / "note.dcm"
    item = dataset
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence", "ReferencedSOPSequence"):
        item[keyword].is_undefined_length = True
        item = item[keyword].value[0]
        item.is_undefined_length_sequence_item = True
    path.write_bytes(as_file(dataset))

    with pytest.raises(Refused, match="too-large"):
        read_header(path, Limits(reads=1_000))


def test_a_name_in_a_reference_does_not_get_through(tmp_path: Path) -> None:
    """What is no UID is replaced as it is in the image that it means."""
    note = read(tmp_path, key_objects("113001", {STUDY: ("DOE.JANE", "DOE.JANE")})).rejection

    assert note is not None and note.instances == {STUDY: (sound_uid("DOE.JANE"),)}
