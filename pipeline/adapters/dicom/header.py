"""The header of a DICOM object, read without its pixels and within limits."""

from __future__ import annotations

import re
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import structlog
from pydicom import charset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipeline.adapters.dicom.bounded import BoundedFile, Limits, inflate
from pipeline.errors import Refused, Unavailable

log = structlog.get_logger()

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""DICOMDIR (PS3.4 annex I): a table of contents, no object of a study."""

_TAGS = {
    keyword: Tag(keyword)
    for keyword in [
        "SpecificCharacterSet",
        "SOPClassUID",
        "SOPInstanceUID",
        "StudyDate",
        "SeriesDate",
        "AcquisitionDate",
        "ContentDate",
        "AcquisitionDateTime",
        "StudyTime",
        "SeriesTime",
        "AcquisitionTime",
        "ContentTime",
        "AccessionNumber",
        "Modality",
        "StudyDescription",
        "SeriesDescription",
        "AnatomicRegionSequence",
        "TimezoneOffsetFromUTC",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "OtherPatientIDs",
        "BodyPartExamined",
        "ViewPosition",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "Laterality",
        "ImageLaterality",
        "NumberOfStudyRelatedInstances",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "CurrentPatientLocation",
        "RequestAttributesSequence",
        "RequestedProcedurePriority",
        "PlacerOrderNumberImagingServiceRequest",
        "ReferencedRequestSequence",
        "ViewCodeSequence",
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "ConceptNameCodeSequence",
        "CurrentRequestedProcedureEvidenceSequence",
        "ReferencedSeriesSequence",
        "ReferencedSOPSequence",
        "ReferencedSOPInstanceUID",
        "MediaStorageSOPClassUID",
        "MediaStorageSOPInstanceUID",
        "TransferSyntaxUID",
    ]
}
_LAST = max(_TAGS.values())
_CONTENT_SEQUENCE = Tag("ContentSequence")
"""The body of a structured report, which no image has: reading stops there."""
_parsing = threading.BoundedSemaphore(4)
"""So that the memory of a header, at its limit, is taken at most four times however many associations there are."""


@dataclass(frozen=True, slots=True)
class Header:
    """A data set up to (0054,0220), by keyword; every accessor takes the worst and never raises.

    size: of the whole file, bytes. starts_at: where in it the data set begins, behind the file meta information.
    rest: bytes after the header, pixels included. damaged: some text is not in its declared character set.
    """

    dataset: Dataset
    transfer_syntax: str
    media_sop_class: str | None = None
    media_sop_instance: str | None = None
    size: int = 0
    rest: int | None = None
    limits: Limits = field(default_factory=Limits)
    starts_at: int = 0
    inherited: str = ""
    """the character set of the data set around an item"""

    def texts(self, keyword: str) -> list[str]:
        """The values of a text element, without padding and control characters; empty ones are left out."""
        return [value for part in self._decoded(keyword)[0].split("\\") if (value := _clean(part))]

    def text(self, keyword: str) -> str | None:
        """The first value."""
        return next(iter(self.texts(keyword)), None)

    def uid(self, keyword: str) -> str | None:
        """A UID, as the sender wrote it, if it is plausible at all (printable ASCII without spaces)."""
        value = self.text(keyword)
        return value if value is not None and value.isascii() and value.isprintable() and " " not in value else None

    def number(self, keyword: str) -> int | None:
        """A US or IS value."""
        element = self._raw(keyword)
        value = element.value if element is not None else None
        if isinstance(value, bytes) and len(value) == 2 and dictionary_VR(_TAGS[keyword]) == "US":
            little = element.is_little_endian if isinstance(element, RawDataElement) else True
            return int(struct.unpack("<H" if little else ">H", value)[0])
        try:
            return int(str(self.text(keyword)))
        except ValueError:
            return None

    def items(self, keyword: str) -> list[Header]:
        """The items of a sequence; none of one that is too long to be looked into."""
        if self._raw(keyword) is None or self.too_long(keyword):
            return []
        try:
            value = self.dataset[_TAGS[keyword]].value
        except Exception:  # whatever pydicom raises on a broken sequence: it says nothing then
            log.info("dicom_sequence_unreadable")
            return []
        return [self._item(item) for item in value] if isinstance(value, Sequence) else []

    def too_long(self, keyword: str) -> bool:
        """Whether a sequence is longer than is looked into."""
        element = self._raw(keyword)
        return element is not None and isinstance(element.value, bytes) and len(element.value) > self.limits.sequence_bytes

    def _item(self, dataset: Dataset) -> Header:
        return Header(dataset, self.transfer_syntax, limits=self.limits, inherited=self._character_set())

    @property
    def damaged(self) -> bool:
        """Whether the character set is unknown or the texts that we read do not keep to it."""
        return any(self._decoded(keyword)[1] for keyword in ("PatientName", "StudyDescription", "SeriesDescription"))

    def _raw(self, keyword: str) -> DataElement | RawDataElement | None:
        """An empty one stays raw, too: pydicom would convert it, and raises where it does not know the value representation."""
        return self.dataset.get_item(_TAGS[keyword], keep_deferred=True)

    def _decoded(self, keyword: str) -> tuple[str, bool]:
        element = self._raw(keyword)
        value = element.value if element is not None else None
        if isinstance(value, bytes):
            return _decode(value, self._character_set())
        if isinstance(value, (list, tuple)) or (value is not None and not isinstance(value, str) and hasattr(value, "__iter__")):
            return ("\\".join(map(str, value)) if not isinstance(value, Sequence) else "", False)
        return (str(value) if value is not None else "", False)

    def _character_set(self) -> str:
        element = self._raw("SpecificCharacterSet")
        if element is None:
            return self.inherited
        value = element.value
        if isinstance(value, bytes):
            return value.decode("ascii", "replace").strip(" \0")
        return value if isinstance(value, str) else "\\".join(map(str, value or ()))


def read_header(path: Path, limits: Limits | None = None) -> Header:
    """Raises Refused when the bytes are no DICOM object or break a limit, Unavailable when the file cannot be read."""
    try:
        with _parsing, path.open("rb") as file:
            return _read(file, limits or Limits())
    except Refused:
        raise
    except OSError as error:
        if error.errno is None:  # pydicom raises bare OSErrors of its own
            raise Refused("malformed", "the header cannot be parsed") from error
        raise Unavailable(f"the received object cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise Refused("malformed", "the sequences are nested too deeply") from error
    except Exception as error:  # pydicom raises a dozen kinds on broken input, BytesLengthException and NotImplementedError among them
        raise Refused("malformed", f"the header cannot be parsed ({type(error).__name__})") from error


def _read(file: BinaryIO, limits: Limits) -> Header:
    if file.read(132)[128:] != b"DICM":
        raise Refused("malformed", "not a DICOM file: no DICM after the preamble")
    bounded = BoundedFile(file, limits)
    stream = cast(BinaryIO, bounded)
    # Not read_partial: it inflates a deflated data set whole, before anything can stop it.
    read_preamble(stream, force=False)
    meta = Header(read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_beyond_meta), "", limits=limits)
    start, syntax = bounded.tell(), meta.uid("TransferSyntaxUID")
    if syntax is None:
        raise Refused("malformed", "the file meta information names no transfer syntax")
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset, rest = _read_deflated(file, start, limits), None
    else:
        bounded.seek(0)
        dataset = read_partial(stream, stop_when=_beyond_header, specific_tags=list(_TAGS.values()))
        rest = bounded.size - bounded.tell()
    media = meta.uid("MediaStorageSOPClassUID"), meta.uid("MediaStorageSOPInstanceUID")
    return Header(dataset, syntax, *media, bounded.size, rest, limits, start)


def _beyond_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag.group != 2)


def _beyond_header(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > _LAST or tag == _CONTENT_SEQUENCE)


def _read_deflated(file: BinaryIO, start: int, limits: Limits) -> Dataset:
    file.seek(start)
    stream = cast(BinaryIO, BoundedFile(inflate(file, limits), limits))
    return read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_beyond_header, specific_tags=list(_TAGS.values()))


def _decode(value: bytes, character_set: str) -> tuple[str, bool]:
    """The text, and whether it broke its character set; then UTF-8 is tried, and at last every byte stands for itself."""
    try:
        codecs = _codecs(character_set)
        if b"\x1b" in value:
            return charset.decode_bytes(value, codecs, {"\\", "^", "="}), False
        return value.decode(codecs[0]), False
    except (LookupError, ValueError):  # UnicodeDecodeError is a ValueError
        pass
    try:
        return value.decode("utf-8"), True
    except UnicodeDecodeError:
        return value.decode("latin-1"), True


def _codecs(character_set: str) -> list[str]:
    """Python's names for the values of (0008,0005). Raises LookupError (KeyError) for a term that the standard does not have."""
    terms = [_term(written) for written in character_set.split("\\")]
    # The default repertoire is ASCII (PS3.5 section 6.1.2.1); pydicom reads it as Latin-1, which would hide undeclared UTF-8.
    codecs = [charset.python_encoding[term] if term not in ("", "ISO_IR 6") else "ascii" for term in terms]
    return codecs[:1] if terms[0] in charset.STAND_ALONE_ENCODINGS else codecs


def _term(written: str) -> str:
    """A defined term of PS3.3 C.12.1.1.2; common misspellings ("ISO-IR 100", "ISO 2022-IR 100") are put right."""
    words = re.split(r"[-_ .]+", written.strip().upper())
    match words:
        case ["ISO", "IR", number]:
            return f"ISO_IR {number}"
        case ["ISO", "2022", "IR", number]:
            return f"ISO 2022 IR {number}"
        case _:
            return " ".join(words)


def _clean(part: str) -> str:
    return "".join(letter for letter in part if letter.isprintable()).strip()
