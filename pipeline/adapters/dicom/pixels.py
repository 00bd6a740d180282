"""Whether the pixels that a header promises can be there (PS3.3 section C.7.6.3, PS3.5 section 8)."""

from __future__ import annotations

from pipeline.adapters.dicom.header import Header
from pipeline.errors import Refused

_NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_DERIVED = {"SEG", "PR", "KO", "SR", "DOC", "REG", "FID", "RTDOSE", "RTPLAN", "RTSTRUCT", "RTRECORD", "RWV", "PLAN"}
"""Modalities of objects that were made from images, or speak of them."""


def is_image(header: Header) -> bool:
    """An acquired image: it has rows and columns and no modality of a derived object."""
    return bool(header.number("Rows") and header.number("Columns")) and header.text("Modality") not in _DERIVED


def check_pixels(header: Header) -> None:
    """Raises Refused where rows x columns x frames cannot be in the file, or one frame would be larger than anyone should decode."""
    frame_bits = _frame_bits(header)
    if frame_bits is None:
        return
    if frame_bits // 8 > header.limits.frame_bytes:
        raise Refused("too-large", "rows x columns claim more than a gigabyte for one frame")
    frames = max(1, header.number("NumberOfFrames") or 1)
    if header.transfer_syntax in _NATIVE and header.rest is not None and frame_bits * frames // 8 > header.rest:
        raise Refused("malformed", "rows x columns x frames claim more pixels than the object has")


def _frame_bits(header: Header) -> int | None:
    rows, columns, bits = (header.number(keyword) for keyword in ("Rows", "Columns", "BitsAllocated"))
    if not rows or not columns or not bits:
        return None
    samples = 2 if header.text("PhotometricInterpretation") == "YBR_FULL_422" else header.number("SamplesPerPixel") or 1
    return rows * columns * samples * bits
