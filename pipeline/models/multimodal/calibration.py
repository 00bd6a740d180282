"""Slope and intercept of each output for every choice of its inputs, from logits of rows that the networks had not seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.models.imaging.readout import platt
from pipeline.models.multimodal.members import Asked, Matrix, counted
from pipeline.models.multimodal.rows import OUTPUTS, PARTS, Mask, Rows, subsets


def positive(rows: Rows, output: int) -> Mask:
    """[counted rows]: who had it."""
    labels: Mask = rows.label[counted(rows, output), output] > 0
    return labels


def crossed(logits: Matrix, label: Mask, fold: NDArray[np.int64]) -> Matrix:
    """Calibrated logits, those of each fold by the slope and intercept of the others."""
    calibrated = np.empty(len(logits))
    for one in np.unique(fold):
        slope, intercept = platt(logits[fold != one], label[fold != one])
        calibrated[fold == one] = slope * logits[fold == one] + intercept
    return calibrated


def table(logits: Mapping[Asked, Matrix], train: Rows) -> Matrix:
    """[OUTPUTS, choices, slope intercept]; choice i has the inputs of PARTS whose bits are in i, choice 0 none: the training share."""
    found = np.zeros((len(OUTPUTS), 1 << max(len(parts) for parts in PARTS), 2))
    for output, parts in enumerate(PARTS):
        label = positive(train, output)
        share = label.mean()
        found[output, :, 1] = np.log(share / (1 - share))
        for name, chosen in subsets(output).items():
            found[output, sum(1 << list(parts).index(part) for part in chosen)] = platt(logits[output, name], label)
    return found
