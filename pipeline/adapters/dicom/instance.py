"""What a DICOM object says of its study, order and patient, in Readfirst's words."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from pipeline.adapters.dicom.header import Header
from pipeline.adapters.dicom.pixels import check_pixels, is_image
from pipeline.adapters.dicom.rejection import RejectionNote, rejection_note
from pipeline.adapters.dicom.terms import BODY_PARTS, VIEWS
from pipeline.domain import priorities, timestamps
from pipeline.domain.deidentify import scrub
from pipeline.domain.demographics import OLDEST, age_at, sex_of
from pipeline.errors import Refused
from pipeline.ports import Identity
from schemas.codes import RequestPriority
from schemas.events import Demographics
from schemas.identifiers import EVENT_NAMESPACE, accession_key, order_key, patient_key
from schemas.time import Timestamp

_REQUESTS = ("RequestAttributesSequence", "ReferencedRequestSequence")
_ACQUIRED = (
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
_AGE_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_TEXT_MAX = 256
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


@dataclass(frozen=True, slots=True)
class Instance:
    """One object. Only `identity` and `numbers` (pseudonym -> accession or order number) hold direct identifiers: they are the vault's.

    derived_study: the object names no study; the UID is made from its series or its own UID, and is the same each time.
    rejection: what a rejection note says, its UIDs sound.
    damaged_text: names are not in the declared character set. expected: how many instances the study has, by (0020,1208).
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    acquired: Timestamp
    transfer_syntax: str
    sop_class: str | None = None
    modality: str | None = None
    body_part: str | None = None
    laterality: str | None = None
    view: str | None = None
    study_description: str | None = None
    series_description: str | None = None
    accession: str | None = None
    order: str | None = None
    priority: RequestPriority | None = None
    location: str | None = None
    demographics: Demographics = field(default_factory=Demographics)
    identity: Identity | None = None
    numbers: tuple[tuple[str, str], ...] = ()
    expected: int | None = None
    rejection: RejectionNote | None = None
    image: bool = True
    derived_study: bool = False
    damaged_text: bool = False


def understand(
    header: Header,
    sop_uid: str | None,
    site_key: bytes,
    authority: str,
    zone: ZoneInfo,
    received: datetime,
    medium: RequestPriority = "urgent",
) -> Instance:
    """sop_uid: the Affected SOP Instance UID of the C-STORE command, for an object that names none itself.

    Raises Refused where not even an instance is named, or the pixels cannot be what the header says, or a rejection note cannot be read.
    """
    check_pixels(header)
    named_uid = header.uid("SOPInstanceUID") or sop_uid or header.media_sop_instance
    if named_uid is None:
        raise Refused("missing-identifier", "the object has no SOP Instance UID")
    instance_uid, study_uid, series_uid = sound_uid(named_uid), header.uid("StudyInstanceUID"), header.uid("SeriesInstanceUID")
    image, acquired = is_image(header), _acquired(header, zone, received)
    accession, order = _first(header, "AccessionNumber"), _first(header, "PlacerOrderNumberImagingServiceRequest")
    keys = (accession_key(site_key, accession) if accession else None, order_key(site_key, order) if order else None)
    clean = _scrubber(header)
    return Instance(
        study_uid=sound_uid(study_uid) if study_uid else derived_uid(series_uid or instance_uid),
        series_uid=sound_uid(series_uid) if series_uid else derived_uid(instance_uid),
        sop_uid=instance_uid,
        sop_class=header.uid("SOPClassUID") or header.media_sop_class,
        acquired=acquired,
        transfer_syntax=header.transfer_syntax,
        modality=_code(header.text("Modality")) if image else None,
        body_part=_term(header.text("BodyPartExamined") or _meaning(header, "AnatomicRegionSequence"), BODY_PARTS, clean)
        if image
        else None,
        laterality=_code(header.text("ImageLaterality") or header.text("Laterality")) if image else None,
        view=_term(header.text("ViewPosition") or _meaning(header, "ViewCodeSequence"), VIEWS, clean) if image else None,
        study_description=clean(header.text("StudyDescription")),
        series_description=clean(header.text("SeriesDescription")),
        accession=keys[0],
        order=keys[1],
        priority=priorities.from_dicom(_first(header, "RequestedProcedurePriority"), medium).level,
        location=clean(header.text("CurrentPatientLocation")),
        demographics=Demographics(_age(header, acquired.utc), sex_of(header.text("PatientSex"))),
        identity=_identity(header, site_key, authority),
        numbers=tuple((key, number) for key, number in zip(keys, (accession, order), strict=True) if key and number),
        expected=_expected(header),
        rejection=_rejection(header),
        image=image,
        derived_study=study_uid is None,
        damaged_text=header.damaged,
    )


def derived_uid(name: str) -> str:
    """A UID that is the same for the same name (PS3.5 section B.2: 2.25 and a UUID as a decimal number)."""
    return f"2.25.{uuid.uuid5(EVENT_NAMESPACE, f'uid|{name}').int}"


def sound_uid(uid: str) -> str:
    """The UID itself if it is one (PS3.5 section 9.1), else one made from it: nobody can hide a name in it."""
    return uid if len(uid) <= 64 and _UID.fullmatch(uid) else derived_uid(uid)


def _rejection(header: Header) -> RejectionNote | None:
    """UIDs as those of the images: two that are no UIDs are replaced alike."""
    note = rejection_note(header)
    if note is None:
        return None
    named = {sound_uid(study): tuple(dict.fromkeys(map(sound_uid, uids))) for study, uids in note.instances.items()}
    return RejectionNote(note.code, named)


def _identity(header: Header, site_key: bytes, authority: str) -> Identity | None:
    patient_id = header.text("PatientID")
    if patient_id is None:
        return None
    issuer = header.text("IssuerOfPatientID") or authority
    name = header.text("PatientName")
    born = _date(header.text("PatientBirthDate"))
    return Identity(
        patient_key(site_key, issuer, patient_id),
        patient_id,
        issuer,
        name=name,
        birth_date=born.strftime("%Y%m%d") if born else None,
        sex=sex_of(header.text("PatientSex")),
    )


def _scrubber(header: Header) -> Callable[[str | None], str | None]:
    names, ids = header.texts("PatientName"), [*header.texts("PatientID"), *header.texts("OtherPatientIDs")]
    born = header.text("PatientBirthDate")
    return lambda text: (scrub(text[:_TEXT_MAX], names, ids, born).strip() or None) if text else None


def _term(text: str | None, defined: frozenset[str], clean: Callable[[str | None], str | None]) -> str | None:
    """A defined term as it is, whatever the patient is called."""
    return text if text is not None and text.strip().upper() in defined else clean(text)


def _first(header: Header, keyword: str) -> str | None:
    """From the object itself, else from the request it was made for."""
    nested = (item.text(keyword) for sequence in _REQUESTS for item in header.items(sequence))
    return header.text(keyword) or next((text for text in nested if text), None)


def _meaning(header: Header, sequence: str) -> str | None:
    """CodeMeaning of the first item."""
    return next((meaning for item in header.items(sequence) if (meaning := item.text("CodeMeaning"))), None)


def _acquired(header: Header, zone: ZoneInfo, received: datetime) -> Timestamp:
    offset = header.text("TimezoneOffsetFromUTC")
    pairs = [(header.text("AcquisitionDateTime"), None), *((header.text(day), header.text(time)) for day, time in _ACQUIRED)]
    stamps = [timestamps.from_dicom(day, time, offset, zone, received) for day, time in pairs if day]
    return next(
        (stamp for stamp in stamps if stamp.precision != "missing"), timestamps.missing(received, next((d for d, _ in pairs if d), None))
    )


def _age(header: Header, at: datetime) -> float | None:
    """(0010,1010) as PS3.5 writes an AS, nnnD, nnnW, nnnM or nnnY; else, and for the "000Y" of a careless sender, from the birth date."""
    text = (header.text("PatientAge") or "").upper()
    if not (text[:-1].isdecimal() and text[-1] in _AGE_YEARS) or text == "000Y":
        return age_at(header.text("PatientBirthDate"), at)
    years = int(text[:-1]) * _AGE_YEARS[text[-1]]
    return min(round(years, 1 if years >= 2 else 2), OLDEST) if years <= 130 else None


def _date(text: str | None) -> date | None:
    digits = (text or "").replace(".", "").replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 and digits.isdecimal() else None
    except ValueError:
        return None


def _code(text: str | None) -> str | None:
    """A code string (CS, PS3.5 section 6.2); what is none might be anything."""
    code = (text or "").upper()
    return code if _CODE.fullmatch(code) else None


def _expected(header: Header) -> int | None:
    number = header.number("NumberOfStudyRelatedInstances")
    return number if number is not None and 0 < number < 1_000_000 else None
