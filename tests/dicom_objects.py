"""Makers of DICOM objects for the tests of the DICOM adapter and gateway."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    generate_uid,
)


def ct(**elements: Any) -> Dataset:
    """A small CT slice of an invented person; keyword arguments replace elements, None removes one."""
    dataset = Dataset()
    defaults: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": "1.2.826.0.1.3680043.10.1",
        "SeriesInstanceUID": "1.2.826.0.1.3680043.10.1.1",
        "PatientName": "DOE^JANE",
        "PatientID": "P-4711",
        "PatientBirthDate": "19500301",
        "PatientSex": "F",
        "AccessionNumber": "ACC-9",
        "Modality": "CT",
        "BodyPartExamined": "HEAD",
        "StudyDate": "20260301",
        "StudyTime": "101530",
        "Rows": 8,
        "Columns": 8,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": bytes(128),
    }
    for keyword, value in {**defaults, **elements}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def key_objects(code: str, studies: Mapping[str, Sequence[str]], scheme: str = "DCM", **elements: Any) -> Dataset:
    """A selection of key objects with that title, of these instances by study; a rejection note where the title is one of such."""
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code, scheme, "Title"
    evidence = []
    for study, instances in studies.items():
        item, series = Dataset(), Dataset()
        series.ReferencedSOPSequence = [_reference(instance) for instance in instances]
        series.SeriesInstanceUID = f"{study}.1"
        item.ReferencedSeriesSequence, item.StudyInstanceUID = [series], study
        evidence.append(item)
    content = Dataset()
    content.RelationshipType, content.ValueType = "CONTAINS", "IMAGE"
    no_pixels = dict.fromkeys(("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
                               "PixelRepresentation", "PixelData", "BodyPartExamined"))  # fmt: skip
    said: dict[str, Any] = {
        "SOPClassUID": KeyObjectSelectionDocumentStorage,
        "SeriesInstanceUID": "1.2.826.0.1.3680043.10.1.99",
        "Modality": "KO",
        "ContentDate": "20260301",
        "ContentTime": "140200",
        "ValueType": "CONTAINER",
        "ConceptNameCodeSequence": [title],
        "CurrentRequestedProcedureEvidenceSequence": evidence,
        "ContentSequence": [content],
    }
    return ct(**{**no_pixels, **said, **elements})


def _reference(instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = CTImageStorage
    if instance:
        item.ReferencedSOPInstanceUID = instance
    return item


def as_file(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The object in DICOM File Format, in a native transfer syntax."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", generate_uid())
    dataset.file_meta = meta
    body = io.BytesIO()
    pydicom.dcmwrite(body, dataset, enforce_file_format=True)
    del dataset.file_meta
    return body.getvalue()


def deflated(dataset: Dataset, padding: int = 0) -> bytes:
    """The object as Deflated Explicit VR; `padding` zero bytes follow in a private element, as a bomb has them."""
    plain = DicomBytesIO()
    plain.is_little_endian, plain.is_implicit_VR = True, False
    write_dataset(plain, dataset)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(plain.getvalue())
    if padding:
        packed += packer.compress(b"\xe1\x7f\x10\x10OB\0\0" + padding.to_bytes(4, "little"))
        block = bytes(1 << 20)
        for _ in range(padding >> 20):
            packed += packer.compress(block)
    head = as_file(_only_ids(dataset), DeflatedExplicitVRLittleEndian)
    return head[: _meta_length(head)] + packed + packer.flush()


def _only_ids(dataset: Dataset) -> Dataset:
    """Only the UIDs that the file meta information repeats."""
    ids = Dataset()
    ids.SOPClassUID, ids.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    return ids


def _meta_length(file: bytes) -> int:
    """Preamble, prefix, the group length element (12 bytes) and the group."""
    return 144 + int.from_bytes(file[140:144], "little")
