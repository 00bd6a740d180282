"""What the chest head was made on, for drift to be measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import drift
from pipeline.domain.image_drift import EDGES, MODALITIES, MODALITY, REFUSED, UNLIKENESS, VIEW, VIEWS, place, refused

Matrix = NDArray[np.float64]


def distribution(
    views: Sequence[str], modalities: Sequence[str], unlikeness: NDArray[np.floating], probabilities: Mapping[str, Matrix]
) -> drift.Reference:
    """Of training films. modalities: of those that tell. unlikeness: of films that the check has not seen; probabilities: of each finding,
    out of fold, for a film that was learned from looks surer than one that comes."""
    series: dict[str, list[float | None]] = {
        VIEW: [place(word, VIEWS) for word in views],
        MODALITY: [place(word, MODALITIES) for word in modalities],
        UNLIKENESS: [float(value) for value in unlikeness],
        REFUSED: [refused(float(value)) for value in unlikeness],
        **{code: [float(value) for value in values] for code, values in probabilities.items()},
    }
    return drift.reference_of(series, fixed=EDGES)
