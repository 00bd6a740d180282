"""A DICOM object as grey values that a person would see: VOI LUT applied, bone bright, padding dark, upright (PS3.3 C.11, C.7.6)."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from pipeline.adapters.pictures.preparation import check_size, prepare
from pipeline.errors import UnfitPicture

_GREY = {"MONOCHROME1", "MONOCHROME2"}
_OPPOSITE = {"R": "L", "L": "R", "H": "F", "F": "H"}


def prepared(data: bytes, side: int) -> NDArray[np.uint8]:
    """The model's input [side, side] from the bytes of a DICOM object. Raises UnfitPicture, whatever the bytes are."""
    return prepare(grey(data), side)


def grey(data: bytes) -> NDArray[np.float32]:
    """[rows, columns], low values dark. Raises UnfitPicture for what is no single grey picture or cannot be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's header breaks many small rules that don't matter here
            return _grey(pydicom.dcmread(io.BytesIO(data), force=True))
    except UnfitPicture:
        raise
    except MemoryError as error:
        raise UnfitPicture("too-large", "the picture needs more memory than there is") from error
    except Exception as error:  # pydicom and its decoders raise anything on a broken object
        raise UnfitPicture("undecodable", f"the pixels cannot be decoded ({type(error).__name__})") from error


def _grey(dataset: Any) -> NDArray[np.float32]:
    _check_header(dataset)
    pixels = dataset.pixel_array
    check_size(pixels.shape)
    values = np.asarray(_as_shown(pixels, dataset), np.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = -values
    return _upright(_without_padding(values, pixels, dataset), dataset)


def _check_header(dataset: Any) -> None:
    """What needs no decoding; asked first, so that no claim of pixels costs memory."""
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        raise UnfitPicture("no-pixels", "the object holds no picture")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise UnfitPicture("multi-frame", "the object holds several frames, and a film is one")
    if int(dataset.get("SamplesPerPixel") or 1) > 1 or dataset.get("PhotometricInterpretation") not in _GREY:
        raise UnfitPicture("colour", "the picture is in colour, and a film is grey")
    check_size((int(dataset.Rows), int(dataset.Columns)))


def _as_shown(pixels: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """With modality and VOI LUT; a window that cannot be, or leaves nothing to see, is left out: contrast is stretched anyway."""
    values: NDArray[Any] = apply_modality_lut(pixels, dataset)
    try:
        shown: NDArray[Any] = apply_voi_lut(values, dataset)
    except Exception:  # a window of width 0, a LUT without data
        return values
    return shown if np.ptp(shown) > 0 else values


def _without_padding(values: NDArray[np.float32], pixels: NDArray[Any], dataset: Any) -> NDArray[np.float32]:
    """Pixel Padding Value (PS3.3 C.7.5.1.1.2) as the darkest of what was exposed."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return values
    low, high = sorted((int(padding), int(dataset.get("PixelPaddingRangeLimit", padding))))
    padded = (pixels >= low) & (pixels <= high)
    if padded.any() and not padded.all():
        values = np.where(padded, values[~padded].min(), values)
    return values


def _upright(values: NDArray[np.float32], dataset: Any) -> NDArray[np.float32]:
    """Rows run to the patient's left and columns to the feet, where Patient Orientation (PS3.3 C.7.6.1.1.1) says how they run now."""
    told = [str(way)[:1].upper() for way in dataset.get("PatientOrientation") or ()]
    if len(told) != 2 or not set(told) <= _OPPOSITE.keys() or told[0] in (told[1], _OPPOSITE[told[1]]):
        return values
    along, down = told
    if along in "HF":
        values, along, down = values.T, down, along
    if along == "R":
        values = values[:, ::-1]
    return values[::-1] if down == "H" else values
