"""Rejection notes: Key Object Selection documents (PS3.3 A.35.4) that say which instances count no more (IHE Radiology TF, RAD-66)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.uid import KeyObjectSelectionDocumentStorage

from pipeline.adapters.dicom.header import Header
from pipeline.errors import Refused
from schemas.codes import RejectionCode

RETENTION = "113039"
"""Data Retention Policy Expired: the images leave an archive, and what was seen on them stays true."""
_CODES: tuple[RejectionCode, ...] = ("113001", "113037", "113038")


@dataclass(frozen=True, slots=True)
class RejectionNote:
    """code: the document's title (CID 7010); None where its images only leave an archive. instances: by study, as the sender names them."""

    code: RejectionCode | None
    instances: Mapping[str, tuple[str, ...]]


def rejection_note(header: Header) -> RejectionNote | None:
    """None for every other object, and for a selection of key images with another title. Raises Refused where it names no instances.

    They are those of the evidence (0040,A375), which lists all that the document's content refers to. A note that is read in part would
    leave images standing that nobody may read, so one that is too long or has a gap is refused as a whole.
    """
    if (header.uid("SOPClassUID") or header.media_sop_class) != KeyObjectSelectionDocumentStorage:
        return None
    titles = {item.text("CodeValue") for item in header.items("ConceptNameCodeSequence") if item.text("CodingSchemeDesignator") == "DCM"}
    code = next((code for code in _CODES if code in titles), None)
    if code is None:
        return RejectionNote(None, {}) if RETENTION in titles else None
    instances: dict[str, tuple[str, ...]] = {}
    for study in _items(header, "CurrentRequestedProcedureEvidenceSequence"):
        named = [_uid(one, "ReferencedSOPInstanceUID") for series in _items(study, "ReferencedSeriesSequence")
                 for one in _items(series, "ReferencedSOPSequence")]  # fmt: skip
        uid = _uid(study, "StudyInstanceUID")
        instances[uid] = (*instances.get(uid, ()), *named)
    return RejectionNote(code, instances)


def _items(header: Header, keyword: str) -> Iterator[Header]:
    if header.too_long(keyword):
        raise Refused("too-large", "the rejection note names too many instances")
    items = header.items(keyword)
    if not items:
        raise Refused("malformed", "the rejection note names no instances")
    return iter(items)


def _uid(header: Header, keyword: str) -> str:
    uid = header.uid(keyword)
    if uid is None:
        raise Refused("missing-identifier", "a reference of the rejection note has no UID")
    return uid
