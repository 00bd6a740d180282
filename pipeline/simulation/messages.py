"""What the simulated hospital's systems send: HL7 v2.5.1 messages and DICOM objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zlib import crc32

import numpy as np
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import dcmread
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, generate_uid

from pipeline.domain.catalogue import BY_NAME

DX_STORAGE = "1.2.840.10008.5.1.4.1.1.1.1"
US_STORAGE = "1.2.840.10008.5.1.4.1.1.6.1"
_OF_STUDY = frozenset(
    {"SpecificCharacterSet", "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"}
)
UID_ROOT = "1.2.826.0.1.3680043.8.498."


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message with its time in the simulation. source: which system sends it. Exactly one of the payloads is set.

    dicom: a data set with file meta information; file: the bytes of a DICOM file, whatever their state.
    """

    at: timedelta
    source: Literal["adt", "ris", "lab", "monitor", "modality", "reporting", "hl7-file", "dicom-file", "fhir-file"]
    hl7: bytes | None = None
    dicom: Dataset | None = None
    file: bytes | None = None
    fhir: bytes | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who does not exist."""

    mrn: str
    family: str
    given: str
    born: date
    sex: Literal["F", "M"]

    @property
    def street(self) -> str:
        """Where nobody lives."""
        return f"Lindenallee {crc32(self.mrn.encode()) % 100_000}"

    @property
    def telephone(self) -> str:
        """A number that is never given out: of the block that the Bundesnetzagentur keeps for fiction."""
        return f"030-23125-{crc32(self.mrn.encode()) % 1000:03d}"


@dataclass(frozen=True, slots=True)
class Exam:
    """An imaging order and the study that answers it."""

    placer: str
    accession: str
    study_uid: str
    modality: str
    body_part: str
    code: str
    description: str
    indication: str
    priority: str
    images: int


@dataclass(frozen=True, slots=True)
class Visit:
    """Where the patient is. patient_class: HL7 table 0004."""

    person: Person
    patient_class: Literal["E", "I", "O"]
    location: str
    number: str


class Hl7:
    """Builds messages with a control id that counts up. Times go out with their UTC offset."""

    def __init__(self, application: str, facility: str = "SIMHOSP") -> None:
        self._application = application
        self._facility = facility
        self._count = 0

    def adt(self, trigger: str, visit: Visit, at: datetime, *, retired_mrn: str | None = None) -> bytes:
        """ADT^A01 … A40; `retired_mrn` goes into MRG-1."""
        merge = [f"MRG|{retired_mrn}^^^SIMHOSP^MR"] if retired_mrn else []
        return self._message("ADT", trigger, at, [f"EVN|{trigger}|{_ts(at)}", _pid(visit.person), _pv1(visit), *merge])

    def order(self, control: str, visit: Visit, exam: Exam, at: datetime) -> bytes:
        """ORM^O01; `control` is ORC-1 (NW, CA, XO)."""
        orc = f"ORC|{control}|{exam.placer}^RIS|{exam.accession}^RIS|||||^^^{_ts(at)}^^{exam.priority}|{_ts(at)}"
        obr = (
            f"OBR|1|{exam.placer}^RIS|{exam.accession}^RIS|{exam.code}^{exam.description}^L|{exam.priority}|{_ts(at)}"
            f"|||||||{exam.indication}|||||{exam.accession}||||||{exam.modality}|||^^^{_ts(at)}^^{exam.priority}||||{exam.indication}"
        )
        zds = f"ZDS|{exam.study_uid}^SIMHOSP^Application^DICOM"
        return self._message("ORM", "O01", at, [_pid(visit.person), _pv1(visit), orc, obr, zds])

    def results(
        self,
        visit: Visit,
        panel: str,
        values: Sequence[tuple[str, float, str]],
        taken: datetime,
        at: datetime,
        *,
        order: str,
        status: str = "F",
    ) -> bytes:
        """ORU^R01 of (catalogue name, value, OBX-8 flag); `taken` is the specimen or measurement time."""
        rows = [
            f"OBX|{n}|NM|{BY_NAME[name].loinc}^{BY_NAME[name].label}^LN||{value:g}|{BY_NAME[name].unit}||{flag}|||{status}|||{_ts(taken)}"
            for n, (name, value, flag) in enumerate(values, 1)
        ]
        return self._message("ORU", "R01", at, [_pid(visit.person), _pv1(visit), _panel(order, panel, taken, at, status), *rows])

    def raw_results(
        self, visit: Visit, values: Sequence[tuple[str, str, str, str, str]], taken: datetime, at: datetime, *, order: str, note: str
    ) -> bytes:
        """ORU^R01 of (code, name, coding system, value, unit) as another system wrote them, with a note."""
        rows = [
            f"OBX|{n}|{'NM' if _is_number(value) else 'ST'}|{_escaped(code)}^{_escaped(name)}^{coding}||{_escaped(value)}|{_escaped(unit)}"
            f"|||||F|||{_ts(taken)}"
            for n, (code, name, coding, value, unit) in enumerate(values, 1)
        ]
        obr = _panel(order, "PANEL", taken, at, "F")
        return self._message("ORU", "R01", at, [_pid(visit.person), _pv1(visit), obr, f"NTE|1||{note}", *rows])

    def report(self, visit: Visit, exam: Exam, text: str, at: datetime, status: str = "F") -> bytes:
        """ORU^R01 of a radiology report."""
        obr = (
            f"OBR|1|{exam.placer}^RIS|{exam.accession}^RIS|{exam.code}^{exam.description}^L|||{_ts(at)}"
            f"|||||||||||{exam.accession}||||{_ts(at)}||RAD|{status}"
        )
        return self._message("ORU", "R01", at, [_pid(visit.person), _pv1(visit), obr, f"OBX|1|TX|18748-4^Report^LN||{text}||||||{status}"])

    def _message(self, kind: str, trigger: str, at: datetime, segments: Sequence[str]) -> bytes:
        self._count += 1
        msh = (
            f"MSH|^~\\&|{self._application}|{self._facility}|READFIRST|SIMHOSP|{_ts(at)}||{kind}^{trigger}"
            f"|{self._application}{self._count:08d}|P|2.5.1|||AL|NE||UNICODE UTF-8"
        )
        return ("\r".join([msh, *segments]) + "\r").encode()


def image(visit: Visit, exam: Exam, number: int, at: datetime, rng: np.random.Generator) -> Dataset:
    """Object `number` (1…) of the exam: pydicom's bundled CT and MR slices, generated pixels otherwise."""
    dataset = _pixels(exam.modality, rng)
    person = visit.person
    dataset.PatientID, dataset.IssuerOfPatientID = person.mrn, "SIMHOSP"
    dataset.PatientName = f"{person.family}^{person.given}"
    dataset.PatientBirthDate, dataset.PatientSex = f"{person.born:%Y%m%d}", person.sex
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = exam.study_uid, exam.study_uid + ".1"
    dataset.SOPInstanceUID = f"{exam.study_uid}.1.{number}"
    dataset.AccessionNumber, dataset.StudyID = exam.accession, exam.placer
    dataset.StudyDescription, dataset.SeriesDescription = exam.description, exam.description
    dataset.Modality, dataset.BodyPartExamined, dataset.InstanceNumber = exam.modality, exam.body_part, number
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, f"{at:%Y%m%d}")
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(dataset, keyword, f"{at:%H%M%S}")
    dataset.TimezoneOffsetFromUTC = "+0000"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def rejection_note(film: Dataset, at: datetime) -> Dataset:
    """The technologist rejects an image: a Key Object Selection (PS3.3 A.35.4, TID 2010), as IHE Radiology's RAD-66 sends it."""
    note, title, image, series, study, content = (Dataset() for _ in range(6))
    for element in film:
        if element.tag.group == 0x0010 or element.keyword in _OF_STUDY:
            note.add(element)
    note.file_meta = FileMetaDataset()
    note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    note.SOPClassUID = note.file_meta.MediaStorageSOPClassUID = KeyObjectSelectionDocumentStorage
    note.SeriesInstanceUID, note.Modality = f"{film.StudyInstanceUID}.9", "KO"
    note.SOPInstanceUID = note.file_meta.MediaStorageSOPInstanceUID = f"{film.StudyInstanceUID}.9.1"
    note.ContentDate, note.ContentTime, note.TimezoneOffsetFromUTC = f"{at:%Y%m%d}", f"{at:%H%M%S}", "+0000"
    note.ValueType, note.ContinuityOfContent = "CONTAINER", "SEPARATE"
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "113001", "DCM", "Rejected for Quality Reasons"
    note.ConceptNameCodeSequence = [title]
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = film.SOPClassUID, film.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = film.SeriesInstanceUID, [image]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = film.StudyInstanceUID, [series]
    note.CurrentRequestedProcedureEvidenceSequence = [study]
    content.RelationshipType, content.ValueType, content.ReferencedSOPSequence = "CONTAINS", "IMAGE", [image]
    note.ContentSequence = [content]
    return note


def uid(rng: np.random.Generator) -> str:
    """A study UID that the seed decides."""
    return str(generate_uid(prefix=UID_ROOT, entropy_srcs=[str(rng.integers(1 << 62))]))[:55]


def _pixels(modality: str, rng: np.random.Generator) -> Dataset:
    if modality in ("CT", "MR"):
        dataset = dcmread(str(get_testdata_file(f"{modality}_small.dcm")))
        for keyword in ("StudyDescription", "ReferringPhysicianName", "OtherPatientIDsSequence", "PatientComments", "PatientAge"):
            if keyword in dataset:
                delattr(dataset, keyword)
        return dataset
    side = 128
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    lungs = np.exp(-((np.abs(x) - 0.2) ** 2 / 0.012 + y**2 / 0.05))
    pixels = (3000 - 1800 * lungs + rng.normal(0, 60, (side, side))).clip(0, 4095).astype("<u2")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DX_STORAGE if modality == "DX" else US_STORAGE
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = side, side, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.tobytes()
    if modality == "DX":
        dataset.ViewPosition = "AP"
    return dataset


def _panel(order: str, panel: str, taken: datetime, at: datetime, status: str) -> str:
    return f"OBR|1||{order}^LIS|{panel}^{panel}^L|||{_ts(taken)}|||||||||||||||{_ts(at)}|||{status}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escaped(text: str) -> str:
    """HL7 v2.5.1 section 2.7."""
    return text.translate({92: "\\E\\", 124: "\\F\\", 94: "\\S\\", 38: "\\T\\", 126: "\\R\\"})


def _pid(person: Person) -> str:
    home = f"{person.street}^^Berlin||{person.telephone}"
    return f"PID|1||{person.mrn}^^^SIMHOSP^MR||{person.family}^{person.given}||{person.born:%Y%m%d}|{person.sex}|||{home}"


def _pv1(visit: Visit) -> str:
    return f"PV1|1|{visit.patient_class}|{visit.location}||||||||||||||||{visit.number}"


def _ts(at: datetime) -> str:
    return f"{at:%Y%m%d%H%M%S}+0000"
