"""What a clinical model was made on, for drift to be measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import drift, features
from pipeline.models.clinical.dataset import Matrix


def distribution(x: Matrix, probability: NDArray[np.floating]) -> drift.Reference:
    """Of rows of features [n, names] and the model's answers [n]: the newest value of each observable, demographics, and the risk."""
    places = {name: features.NAMES.index(f"{name}.last") for name in features.OBSERVABLES}
    places |= {name: features.NAMES.index(name) for name in features.DEMOGRAPHICS}
    series: dict[str, list[float | None]] = {
        name: [None if np.isnan(value) else float(value) for value in x[:, place]] for name, place in places.items()
    }
    series[drift.RISK] = [float(value) for value in probability]
    return drift.reference_of(series)
