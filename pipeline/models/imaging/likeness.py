"""Fits the out-of-distribution check: how far a picture lies from the films, and how much it resembles what is no upright film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.models.evaluation.calibration import fit_logistic
from pipeline.models.imaging.network import Likeness

Matrix = NDArray[np.float64]
COMPONENTS = 48
"""Directions in which films differ that a distance goes by."""
REFUSED_SHARE = 0.03
"""Of films that it has not seen: what it may refuse. A third by each of its looks."""
_RIDGE = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures as the check sees them: thumbnails and features, row by row."""

    small: Matrix
    features: Matrix

    def chosen(self, rows: NDArray[np.bool_]) -> Seen:
        """Some of them."""
        return Seen(self.small[rows], self.features[rows])


def fit(films: Seen, foreign: Matrix, unseen: Seen) -> Likeness:
    """films, foreign (thumbnails): what it learns from. unseen: films of other patients, which set where 1 is."""
    mean, axes = _axes(films.small)
    texture_mean, texture_axes = _axes(films.features)
    weight, bias = _logit(films.small - mean, foreign - mean)
    parts = {
        "whole_mean": mean,
        "whole_axes": axes,
        "foreign_weight": weight,
        "foreign_bias": bias,
        "texture_mean": texture_mean,
        "texture_axes": texture_axes,
        "scale": np.ones(3),
    }
    likeness = Likeness(**{name: torch.tensor(part, dtype=torch.float32) for name, part in parts.items()})
    looks = likeness.looks(_tensor(unseen.small), _tensor(unseen.features)).numpy()
    likeness.scale.copy_(torch.tensor(np.quantile(looks, 1 - REFUSED_SHARE / 3, axis=0), dtype=torch.float32))
    return likeness


def of(check: Likeness, pictures: Seen) -> Matrix:
    """Unlikeness [n]."""
    unlikeness: Matrix = check(_tensor(pictures.small), _tensor(pictures.features))[:, 0].double().numpy()
    return unlikeness


def _axes(films: Matrix) -> tuple[Matrix, Matrix]:
    """(mean, principal axes divided by the films' own spread along them)."""
    mean = films.mean(0)
    _, spread, axes = np.linalg.svd(films - mean, full_matrices=False)
    most = min(COMPONENTS, len(films) - 1)
    return mean, axes[:most].T / (spread[:most] / np.sqrt(len(films)))


def _logit(films: Matrix, foreign: Matrix) -> tuple[Matrix, np.float64]:
    """Ridge-regularised, on inputs of one size; given back for inputs as they are."""
    both = np.vstack([films, foreign])
    size = both.std(0) + 1e-6
    found = fit_logistic(both / size, np.arange(len(both)) >= len(films), ridge=_RIDGE)
    return found[:-1] / size, found[-1]


def _tensor(values: Matrix) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)
