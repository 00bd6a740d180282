"""Divides pairs by patient, never by row, and checks afterwards that no patient and no picture stands on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.errors import StackError
from pipeline.models.finetuning.audit import SMALL
from pipeline.models.finetuning.pairs import Pair

Mask = NDArray[np.bool_]
Folds = NDArray[np.int64]
MOST_FOLDS = 5
_EACH_CLASS = 40
"""Patients of each class from which a fifth of them is worth testing on."""


def folds(positive: Mask, patient: NDArray[np.str_], most: int, seed: int) -> Folds:
    """[n]: the fold of each row, 0 upwards; as many folds as the rarer class has patients, at most `most`."""
    rarer = min(len(set(patient[positive])), len(set(patient[~positive])))
    count = min(most, rarer)
    if count < 2:
        raise StackError("one class has fewer than two patients: nothing can be held out", "bring more pairs of that class")
    found = np.zeros(len(positive), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(positive, positive, patient)):
        found[test] = fold
    return found


def held_out(positive: Mask, patient: NDArray[np.str_], seed: int) -> Mask | None:
    """A fifth of the patients; None where there are too few for that, and cross-validation has to do."""
    each = min(len(set(patient[positive])), len(set(patient[~positive])))
    if len(set(patient)) < SMALL or each < _EACH_CLASS:
        return None
    test: Mask = folds(positive, patient, MOST_FOLDS, seed) == 0
    return test


def check_apart(pairs: Sequence[Pair], test: Mask) -> None:
    """Raises StackError where a patient or a picture is on both sides."""
    for what, keys in (("patient", [pair.patient for pair in pairs]), ("picture", [pair.digest for pair in pairs])):
        sides = [{key for key, inside in zip(keys, test, strict=True) if key is not None and inside == side} for side in (True, False)]
        if sides[0] & sides[1]:
            raise StackError(f"the split is not clean: {len(sides[0] & sides[1])} times the same {what} on both sides")
