"""An object as it goes to the store: the sender's data set, byte for byte, under file meta information of ours (PS3.10 section 7.1).

The meta information says who wrote the file, not what the object is: sent by C-STORE and again by STOW-RS, an object differs in
nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from pipeline.adapters.dicom.header import Header

_CHUNK = 1 << 20
_PREAMBLE = 128
_TIFF = (b"II*\0", b"MM\0*")
"""The only preambles that mean something: the same bytes are a TIFF file, with offsets that must not move."""


def file_chunks(path: Path, header: Header, sop_class: str | None, sop_uid: str) -> Iterator[bytes]:
    """The bytes to store of the DICOM file at `path`. Any other preamble is zeroed: it may hold a program."""
    with path.open("rb") as file:
        if not file.read(_PREAMBLE).startswith(_TIFF):
            file.seek(header.starts_at)
            yield bytes(_PREAMBLE) + b"DICM" + _meta_information(header.transfer_syntax, sop_class, sop_uid)
        else:
            file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _meta_information(transfer_syntax: str, sop_class: str | None, sop_uid: str) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class or "")
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = "READFIRST"
    written = io.BytesIO()
    write_file_meta_info(written, meta, enforce_standard=False)
    return written.getvalue()
