"""Grey values of any film as a model's input: the one function that training and serving share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import UnfitPicture

SIDE_MIN = 64
"""Pixels: a smaller picture is a thumbnail or an icon."""
PIXELS_MAX = 100_000_000
"""A claim beyond it is not decoded: the largest detectors have 30 million."""
ASPECT_MAX = 1.6
"""Longer side to shorter side after the borders are cut off."""
_BORDER_MAX = 0.25
"""Share of a side that may be border, at each end."""
_FLAT = 0.03
"""A row or column whose standard deviation is below this share of the picture's range is border, or background that says nothing."""
_TAILS = (1.0, 99.0)
"""Percentiles that become black and white: lead markers and burnt-in letters don't squeeze the rest."""


def check_size(shape: Sequence[int]) -> None:
    """Raises UnfitPicture for what is no single grey picture of a usable size; to be asked before pixels are decoded, and after."""
    if len(shape) != 2:
        raise UnfitPicture("wrong-shape", f"the picture has {len(shape)} dimensions, not rows and columns")
    if shape[0] * shape[1] > PIXELS_MAX:
        raise UnfitPicture("too-large", f"{shape[1]} x {shape[0]} pixels are more than a radiograph has")
    if min(shape) < SIDE_MIN:
        raise UnfitPicture("too-small", f"{shape[1]} x {shape[0]} pixels are too few to see anything")


def prepare(grey: NDArray[np.generic], side: int) -> NDArray[np.uint8]:
    """A picture [rows, columns], low values dark, as [side, side] with borders cut off and contrast stretched. Raises UnfitPicture."""
    check_size(grey.shape)
    values = np.asarray(grey, np.float32)
    if not np.isfinite(values).all():
        raise UnfitPicture("not-finite", "the picture holds values that are no numbers")
    dark, bright = (float(value) for value in np.percentile(values, _TAILS))
    if bright <= dark:
        raise UnfitPicture("empty", "the picture is one even area")
    values = without_borders(np.clip((values - dark) / (bright - dark), 0.0, 1.0))
    rows, columns = values.shape
    if max(rows, columns) > ASPECT_MAX * min(rows, columns):
        raise UnfitPicture("wrong-shape", f"the picture is {columns} x {rows}: too long for a film")
    small = Image.fromarray(np.ascontiguousarray(values)).resize((side, side), Image.Resampling.BILINEAR)
    return stretched(np.asarray(small, np.float32))


def without_borders(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the flat rows and columns at its edges: padding, collimation, and frames that were burnt in. Values are 0 to 1."""
    top, bottom = _content(values.std(axis=1))
    left, right = _content(values[top:bottom].std(axis=0))
    return values[top:bottom, left:right]


def stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The tails of the distribution at 0 and 255. Raises UnfitPicture where there is no contrast."""
    dark, bright = (float(value) for value in np.percentile(values, _TAILS))
    if bright - dark < 1e-6:
        raise UnfitPicture("empty", "the picture is one even area")
    spread: NDArray[np.uint8] = np.rint(np.clip((values - dark) / (bright - dark), 0.0, 1.0) * 255.0).astype(np.uint8)
    return spread


def _content(deviation: NDArray[np.floating]) -> tuple[int, int]:
    """First and last + 1 line that holds something."""
    most = int(len(deviation) * _BORDER_MAX)
    lively = deviation > _FLAT
    start = min(int(np.argmax(lively)), most) if lively.any() else 0
    end = min(int(np.argmax(lively[::-1])), most) if lively.any() else 0
    return start, len(deviation) - end
