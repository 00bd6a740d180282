"""A linear finding read from an encoder's features, and the slope and intercept that make its probability come true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.calibration import fit_logistic
from pipeline.models.imaging.films import Mask
from pipeline.models.imaging.recipe import SEED

Matrix = NDArray[np.float64]
FAVOUR = 10.0
MEMBERS = 10
"""Both set beforehand, not tuned."""


@dataclass(frozen=True, slots=True)
class Linear:
    """logit = features @ weight + bias."""

    weight: Matrix
    bias: float

    def __call__(self, features: Matrix) -> Matrix:
        """Logits [n]."""
        return features @ self.weight + self.bias


def fit(features: Matrix, positive: Mask, ridge: float, favoured: Matrix | None = None) -> Linear:
    """Logistic regression with `ridge` on inputs brought to mean 0 and size 1; missing values (NaN) count as the mean.

    favoured: [inputs, k] directions in which the ridge holds back FAVOUR² times less.
    """
    mean, size = np.nanmean(features, axis=0), np.nanstd(features, axis=0) + 1e-6
    scaled = np.nan_to_num((features - mean) / size)
    also = np.zeros((features.shape[1], 0)) if favoured is None else favoured
    along = scaled @ (also * size[:, None])
    strength = FAVOUR / (along.std(0) + 1e-9)
    scaled = np.hstack([scaled, along * strength])
    # In the space of the rows: with more features than films it is the same solution, a thousand times sooner.
    rows, spread, axes = np.linalg.svd(scaled, full_matrices=False)
    found = fit_logistic(rows * spread, positive, ridge=ridge)
    learned = axes.T @ found[:-1]
    weight = learned[: len(size)] / size + also @ (strength * learned[len(size) :])
    return Linear(weight, float(found[-1] - mean @ weight))


def crossed(features: Matrix, positive: Mask, fold: NDArray[np.int64], ridge: float) -> Matrix:
    """Logits [n], those of each fold by what was learned on the others."""
    logits = np.full(len(positive), np.nan)
    for one in np.unique(fold):
        test = fold == one
        logits[test] = fit(features[~test], positive[~test], ridge)(filled(features[test], features[~test]))
    return logits


def members(
    features: Matrix, positive: Mask, patient: NDArray[np.str_], ridge: float, favoured: Matrix | None = None, seed: int = SEED
) -> list[Linear]:
    """MEMBERS read-outs, each on as many patients drawn with replacement: how they differ is how much the answer hangs on who was there.

    Chosen by cross-validation inside NIH's training patients over a Laplace posterior, three times as wide and no better at telling errors.
    """
    rng, found = np.random.default_rng(seed), list[Linear]()
    rows = [np.flatnonzero(patient == one) for one in np.unique(patient)]
    while len(found) < MEMBERS:
        drawn = np.concatenate([rows[place] for place in rng.integers(len(rows), size=len(rows))])
        if 0 < positive[drawn].sum() < len(drawn):
            found.append(fit(features[drawn], positive[drawn], ridge, favoured))
    return found


def stacked(findings: Sequence[Sequence[Linear]]) -> tuple[Matrix, Matrix]:
    """The members of each finding as ImageHead takes them: weights [features, findings * k], biases [findings * k]."""
    every = [member for members in findings for member in members]
    return np.stack([member.weight for member in every], 1), np.array([member.bias for member in every])


def spread(logits: Matrix, members: Matrix, platt: tuple[float, float]) -> Matrix:
    """As ImageHead has it: half the width of the probability, one standard deviation of the members' logits [n, k] either way."""
    middle, either_way = platt[0] * logits + platt[1], platt[0] * members.std(1, ddof=1)
    width: Matrix = 1 / (1 + np.exp(-(middle + either_way))) - 1 / (1 + np.exp(-(middle - either_way)))
    return width / 2


def filled(features: Matrix, like: Matrix) -> Matrix:
    """With the mean of `like` where a value is missing."""
    return np.where(np.isnan(features), np.nanmean(like, axis=0), features)


def platt(logits: Matrix, positive: Mask) -> tuple[float, float]:
    """Slope and intercept of out-of-fold logits. The slope is held above a hundredth: a finding never turns round."""
    slope, intercept = fit_logistic(logits[:, None], positive, ridge=1e-3)
    return max(float(slope), 0.01), float(intercept)
