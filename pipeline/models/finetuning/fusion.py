"""Joins what each part says: one calibrated logistic regression over the parts' out-of-fold logits, any part missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.calibration import fit_logistic
from pipeline.models.finetuning.encoder import Adapt, Adapted, adapted, adapted_for
from pipeline.models.finetuning.inputs import Inputs, Mask
from pipeline.models.finetuning.splits import folds
from pipeline.models.finetuning.text import TextPart, learned

Matrix = NDArray[np.float64]
PARTS = ("image", "values", "clinical", "text")
_RIDGE_VALUES, _RIDGE_JOIN = 3.0, 1.0
_INNER = 3
_FEWEST = 5
"""Patients who must have a value, or a picture, or an emergency in their text, before anything is learned of it."""
_FARTHEST = 4.0
"""Standard deviations at which a value is held."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to learn. rank: of low-rank changes."""

    adapt: Adapt = "frozen"
    rank: int = 4
    seed: int = 1


@dataclass(frozen=True, slots=True)
class ValuePart:
    """A linear logit of values brought to logarithms and one size; a missing one says nothing."""

    mean: Matrix
    size: Matrix
    weight: Matrix

    def logits(self, values: Matrix) -> Matrix:
        """[n], without an intercept: 0 where nothing is known."""
        return scaled(values, self.mean, self.size) @ self.weight


@dataclass(frozen=True, slots=True)
class Fused:
    """Everything that was learned. join: the weight of each of PARTS, held at 0 or above; words: one for each of CONCEPTS. text: None where
    it does not help."""

    image: Adapted | None
    values: ValuePart
    clinical_mean: float
    join: dict[str, float]
    words: Matrix
    intercept: float
    text: TextPart | None = None

    def parts(self, data: Inputs, rows: Mask) -> dict[str, Matrix]:
        """Each part's own logit; 0 where it is missing."""
        image = np.zeros(int(rows.sum())) if self.image is None else self.image.logits(data, rows)
        clinical = np.where(data.has_clinical[rows], data.clinical_logit[rows] - self.clinical_mean, 0.0)
        text = np.zeros(int(rows.sum())) if self.text is None or data.buckets is None else self.text.logits(data.buckets[rows])
        return {"image": image, "values": self.values.logits(data.values[rows]), "clinical": clinical, "text": text}

    def logits(self, data: Inputs, rows: Mask) -> Matrix:
        """Calibrated, of all that is there."""
        parts = self.parts(data, rows)
        total: Matrix = sum((self.join[name] * parts[name] for name in PARTS), np.zeros(int(rows.sum())))
        return total + data.concepts[rows] @ self.words + self.intercept


def learn(data: Inputs, train: Mask, recipe: Recipe) -> Fused:
    """From the rows of `train` alone; the join from logits of patients that each part had not seen."""
    fold = np.full(len(train), -1)
    fold[train] = folds(data.positive[train], data.patient[train], _INNER, recipe.seed)
    clinical_mean = _mean(data.clinical_logit[train & data.has_clinical])
    with_image = _known(data, train & data.has_image)
    unseen = {name: np.zeros(len(train)) for name in PARTS}
    unseen["clinical"] = np.where(data.has_clinical, data.clinical_logit - clinical_mean, 0.0)
    epochs = []
    for one in range(fold.max() + 1):
        rest, test = train & (fold != one), fold == one
        unseen["values"][test] = _values(data, rest).logits(data.values[test])
        if with_image and _known(data, rest & data.has_image):
            part = adapted(data, rest, test, recipe.adapt, recipe.rank, recipe.seed + one)
            unseen["image"][test] = part.logits(data, test)
            epochs.append(part.epochs)
        if data.buckets is not None and (told := learned(data.buckets[rest], data.positive[rest], data.patient[rest])) is not None:
            unseen["text"][test] = told.logits(data.buckets[test])
    if not _helps(data, fold, unseen):
        unseen["text"][:] = 0
    image = adapted_for(data, train, int(np.median(epochs)), recipe.adapt, recipe.rank, recipe.seed) if epochs else None
    join, words, intercept = _join(data, train, unseen)
    text = None if data.buckets is None or not join["text"] else learned(data.buckets[train], data.positive[train], data.patient[train])
    join["text"] = 0.0 if text is None else join["text"]
    return Fused(image, _values(data, train), clinical_mean, join, words, intercept, text)


def _helps(data: Inputs, fold: NDArray[np.int64], unseen: dict[str, Matrix]) -> bool:
    """Whether words beyond the emergencies lower the log loss of patients out of fold, the join learned on the others, by more than one
    standard error of the mean."""
    if not unseen["text"].any():
        return False
    without, gain = {**unseen, "text": np.zeros(len(fold))}, np.zeros(len(fold))
    for one in range(fold.max() + 1):
        rest, test = (fold >= 0) & (fold != one), fold == one
        losses = []
        for parts in (without, unseen):
            join, words, intercept = _join(data, rest, parts)
            total = sum((join[name] * parts[name][test] for name in PARTS), data.concepts[test] @ words + intercept)
            losses.append(np.logaddexp(0, np.where(data.positive[test], -total, total)))
        gain[test] = losses[0] - losses[1]
    _, whose = np.unique(data.patient[fold >= 0], return_inverse=True)
    by_patient = np.bincount(whose, gain[fold >= 0]) / np.bincount(whose)
    return bool(by_patient.mean() > by_patient.std(ddof=1) / np.sqrt(len(by_patient)))


def scaled(values: Matrix, mean: Matrix, size: Matrix) -> Matrix:
    """Concentrations differ by factors: logarithms, whatever the sign; 0 where a value is missing."""
    shown = (np.sign(values) * np.log1p(np.abs(values)) - mean) / size
    return np.nan_to_num(np.clip(shown, -_FARTHEST, _FARTHEST))


def _values(data: Inputs, rows: Mask) -> ValuePart:
    """Values that too few patients have, and those that never differ, get no weight."""
    seen = data.values[rows]
    shown = np.sign(seen) * np.log1p(np.abs(seen))
    known = ~np.isnan(shown)
    patients = np.array([len(set(data.patient[rows][column])) for column in known.T])
    mean = np.where(known.any(0), np.nansum(shown, 0) / np.maximum(known.sum(0), 1), 0.0)
    size = np.sqrt(np.nansum((shown - mean) ** 2, 0) / np.maximum(known.sum(0), 1))
    used = (patients >= _FEWEST) & (size > 1e-6)
    size = np.where(used, size, 1.0)
    weight = np.zeros(len(used))
    if used.any():
        weight[used] = fit_logistic(scaled(seen, mean, size)[:, used], data.positive[rows], ridge=_RIDGE_VALUES)[:-1]
    return ValuePart(mean, size, weight)


def _join(data: Inputs, train: Mask, unseen: dict[str, Matrix]) -> tuple[dict[str, float], Matrix, float]:
    """A part whose weight would be negative is left out: what it says never turns round."""
    positive, told = data.positive[train], data.concepts[train]
    worded = np.array([len(set(data.patient[train][column > 0])) >= _FEWEST for column in told.T], bool)
    size = {name: float(unseen[name][train].std()) for name in PARTS}
    names = [name for name in PARTS if size[name] > 1e-9]
    while True:
        design = np.column_stack([*(unseen[name][train] / size[name] for name in names), told[:, worded]])
        found = fit_logistic(design, positive, ridge=_RIDGE_JOIN)
        lowest = min(range(len(names)), key=lambda index: float(found[index]), default=None)
        if lowest is None or found[lowest] >= 0:
            break
        names.pop(lowest)
    words = np.zeros(told.shape[1])
    words[worded] = found[len(names) : -1]
    weights = {name: float(found[place] / size[name]) for place, name in enumerate(names)}
    return {name: weights.get(name, 0.0) for name in PARTS}, words, float(found[-1])


def _known(data: Inputs, rows: Mask) -> bool:
    """Enough patients of each class to learn a part from."""
    each = [len(set(data.patient[rows & (data.positive == positive)])) for positive in (True, False)]
    return min(each) >= 2 and sum(each) >= _FEWEST


def _mean(values: Matrix) -> float:
    return float(values.mean()) if len(values) else 0.0
