"""The pictures that a manifest names: files beside it, or SOP Instance UIDs in the object store."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.adapters.objects.local import VARIANT
from pipeline.adapters.pictures.decoding import prepared
from pipeline.adapters.pictures.preparation import check_size, prepare
from pipeline.errors import NotFound, UnfitPicture

_UID = re.compile(r"[0-9]+(\.[0-9]+){2,}")
_RASTER = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
_COLOUR_APART = 8
"""Grey levels by which channels may differ: JPEG makes grey pictures slightly coloured."""


@dataclass(frozen=True, slots=True)
class Film:
    """As a head sees it. digest: SHA-256 of the file."""

    picture: NDArray[np.uint8]
    digest: str


class Films:
    """Callable: the cell `image` of a manifest to its picture."""

    def __init__(self, folder: Path, objects: Path | None, side: int) -> None:
        """folder: of the manifest. objects: of the local object store."""
        self._folder = folder
        self._objects = objects
        self._side = side

    def __call__(self, told: str) -> Film:
        """Raises NotFound, UnfitPicture."""
        path = self._stored(told) if _UID.fullmatch(told) else self._folder / told
        try:
            body = path.read_bytes()
        except OSError as error:
            raise NotFound("there is no such file") from error
        picture = prepare(_grey(body), self._side) if path.suffix.lower() in _RASTER else prepared(body, self._side)
        return Film(picture, hashlib.sha256(body).hexdigest())

    def _stored(self, uid: str) -> Path:
        if self._objects is None:
            raise NotFound("a SOP Instance UID needs --objects, the folder of the object store")
        found = sorted(path for path in self._objects.glob(f"*/*/{uid}.dcm") if VARIANT not in path.name)
        if not found:
            raise NotFound("the object store has no such SOP instance")
        return found[0]


def _grey(body: bytes) -> NDArray[np.generic]:
    """[rows, columns] of a raster file, 16 bits kept. Raises UnfitPicture."""
    try:
        with Image.open(io.BytesIO(body)) as image:
            check_size((image.height, image.width))
            if getattr(image, "n_frames", 1) > 1:
                raise UnfitPicture("multi-frame", "the file holds several pictures, and a film is one")
            if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
                return np.asarray(image)
            colours = np.asarray(image.convert("RGB"), np.int16)
    except UnfitPicture:
        raise
    except Exception as error:  # Pillow's decoders raise anything on a broken file
        raise UnfitPicture("undecodable", f"the file is no picture that can be read ({type(error).__name__})") from error
    if np.quantile(np.ptp(colours, axis=2), 0.99) > _COLOUR_APART:
        raise UnfitPicture("colour", "the picture is in colour, and a film is grey")
    grey: NDArray[np.float64] = colours.mean(axis=2)
    return grey
