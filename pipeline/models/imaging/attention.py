"""Fusion by attention with modality dropout: a token for the image, one for each value, any of them absent. A rival of the late fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.imaging import evaluation
from pipeline.models.imaging.films import Films, Mask, folds
from pipeline.models.imaging.readout import platt
from pipeline.models.imaging.recipe import SEED

Matrix = NDArray[np.float64]
_WIDTH, _COMPONENTS = 16, 24
_STEPS, _RATE, _DECAY = 200, 5e-3, 0.1
_DROPPED = 0.3
"""Chance that a modality is hidden from a row in a step of training."""
_SEEDS = 3


class Attention(nn.Module):  # type: ignore[misc]
    """One learned question put to the tokens that are there; a token that is always there answers where nothing is known."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.image = nn.Linear(_COMPONENTS, _WIDTH)
        self.scale, self.shift = (nn.Parameter(torch.randn(values, _WIDTH) * _WIDTH**-0.5) for _ in range(2))
        self.nothing, self.question = (nn.Parameter(torch.randn(_WIDTH) * _WIDTH**-0.5) for _ in range(2))
        self.key, self.value = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.answer = nn.Linear(_WIDTH, 1)

    def forward(self, image: Tensor, values: Tensor, present: Tensor) -> Tensor:
        """[n, components], [n, values] (anything where absent) and [n, 1 + values], image first, to logits [n]."""
        told = values[:, :, None] * self.scale + self.shift
        tokens = torch.cat([self.nothing.expand(len(image), 1, -1), self.image(image)[:, None], told], 1)
        there = torch.cat([torch.ones(len(image), 1, dtype=torch.bool), present], 1)
        heard = ((self.key(tokens) @ self.question) * _WIDTH**-0.5).masked_fill(~there, -torch.inf).softmax(1)
        logits: Tensor = self.answer((heard[:, :, None] * self.value(tokens)).sum(1))[:, 0]
        return logits


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs: image [n, features]; the values of each modality beside it, NaN where absent."""

    image: Matrix
    values: Mapping[str, Matrix]

    def chosen(self, rows: Mask) -> Rows:
        """Some of them."""
        return Rows(self.image[rows], {name: values[rows] for name, values in self.values.items()})


class Fitted:
    """A few networks of different seeds, with the scales of the rows that they were fitted on."""

    def __init__(self, rows: Rows, positive: Mask, seed: int = SEED) -> None:
        self.mean = rows.image.mean(0)
        _, spread, axes = np.linalg.svd((rows.image - self.mean) / (rows.image.std(0) + 1e-6), full_matrices=False)
        self.axes = (axes[:_COMPONENTS].T / (spread[:_COMPONENTS] / np.sqrt(len(rows.image)))) / (rows.image.std(0) + 1e-6)[:, None]
        stacked = np.hstack(list(rows.values.values()))
        self.middle, self.size = np.nanmean(stacked, 0), np.nanstd(stacked, 0) + 1e-6
        self.networks = [self._trained(rows, positive, seed - 1 + number) for number in range(_SEEDS)]

    def logits(self, rows: Rows, inputs: Sequence[str]) -> Matrix:
        """From these inputs alone, the mean of the seeds."""
        image, values, present = self._tensors(rows)
        with torch.inference_mode():
            told = [network(image, values, present & _mask(rows, inputs)) for network in self.networks]
        mean: Matrix = torch.stack(told).mean(0).double().numpy()
        return mean

    def _tensors(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        stacked = np.hstack(list(rows.values.values()))
        image = torch.tensor((rows.image - self.mean) @ self.axes, dtype=torch.float32)
        scaled = torch.tensor(np.nan_to_num(np.clip((stacked - self.middle) / self.size, -4, 4)), dtype=torch.float32)
        present = torch.tensor(np.hstack([np.ones((len(stacked), 1), bool), ~np.isnan(stacked)]))
        return image, scaled, present

    def _trained(self, rows: Rows, positive: Mask, seed: int) -> Attention:
        torch.manual_seed(seed)
        image, values, present = self._tensors(rows)
        network, label = Attention(values.shape[1]), torch.tensor(positive, dtype=torch.float32)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        sizes = [1, *(part.shape[1] for part in rows.values.values())]
        for _ in range(_STEPS):
            kept = torch.rand(len(label), len(sizes)) > _DROPPED
            shown = present & torch.cat([kept[:, [at]].expand(-1, size) for at, size in enumerate(sizes)], 1)
            loss = functional.binary_cross_entropy_with_logits(network(image, values, shown), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        return network


def compared(whole: Films, features: Matrix, seed: int = SEED) -> dict[str, dict[str, Any]]:
    """Hannover's intensive care from every subset of the inputs, beside the late fusion of the same."""
    parts = evaluation.inputs(whole, features)
    fold, positive = folds(whole.patient, "hannover"), whole.positive
    rows = Rows(features, {name: values for name, (values, _) in parts.items() if name != "image"})
    logits = crossed(rows, positive, fold, list(evaluation.SUBSETS.values()), seed)
    late = [evaluation.late_fusion([parts[one] for one in subset], positive, fold) for subset in evaluation.SUBSETS.values()]
    return {
        name: {**evaluation.calibrated(positive, ours), "minus_late_fusion_95": evaluation.minus(positive, ours, other, whole.patient)}
        for name, ours, other in zip(evaluation.SUBSETS, logits, late, strict=True)
    }


def crossed(rows: Rows, positive: Mask, fold: NDArray[np.int64], subsets: Sequence[Sequence[str]], seed: int = SEED) -> list[Matrix]:
    """Calibrated logits of every row from each subset of the inputs, by networks that had not seen its patient.

    One network serves all subsets; slope and intercept of each come from folds inside the training patients.
    """
    logits = [np.full(len(positive), np.nan) for _ in subsets]
    for one in np.unique(fold):
        rest, test = fold != one, fold == one
        whole = Fitted(rows.chosen(rest), positive[rest], seed)
        inner = _unseen(rows.chosen(rest), positive[rest], fold[rest], subsets, seed)
        for subset, seen, found in zip(subsets, inner, logits, strict=True):
            slope, intercept = platt(seen, positive[rest])
            found[test] = slope * whole.logits(rows.chosen(test), subset) + intercept
    return logits


def _unseen(rows: Rows, positive: Mask, fold: NDArray[np.int64], subsets: Sequence[Sequence[str]], seed: int) -> list[Matrix]:
    logits = [np.full(len(positive), np.nan) for _ in subsets]
    for one in np.unique(fold):
        rest, test = fold != one, fold == one
        fitted = Fitted(rows.chosen(rest), positive[rest], seed)
        for subset, found in zip(subsets, logits, strict=True):
            found[test] = fitted.logits(rows.chosen(test), subset)
    return logits


def _mask(rows: Rows, inputs: Sequence[str]) -> Tensor:
    """[1, 1 + values]: the image is called `image`."""
    parts = [["image" in inputs], *([name in inputs] * values.shape[1] for name, values in rows.values.items())]
    return torch.tensor([[one for part in parts for one in part]])
