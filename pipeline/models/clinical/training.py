"""Trains the ensemble on set a and calibrates it on the predictions that each stay got from members which had not seen it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.models.clinical import masking
from pipeline.models.clinical.dataset import Examples, Matrix
from pipeline.models.clinical.network import CalibratedRisk, RiskNetwork, bin_edges
from pipeline.models.metrics import fit_logistic

Progress = Callable[[int, int], None]
"""Told (epochs done, epochs in all)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights besides the data. How it was chosen stands in the card."""

    seed: int = 20121
    members: int = 20
    folds: int = 5
    bins: int = 6
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.3
    end_share: float = 0.5
    """How often a stay is shown as it stood at 48 h; else at one of its random earlier moments."""
    cuts: int = 7
    """Random moments prepared for each stay."""
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Trained:
    """The calibrated model and the out-of-fold probabilities of the training rows it was calibrated on."""

    model: CalibratedRisk
    out_of_fold: NDArray[np.float64]


def train(examples: Examples, recipe: Recipe, progress: Progress = lambda done, total: None) -> Trained:
    """The same recipe and examples give the same weights on the same build of torch."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    fold = rng.permutation(int(examples.stay.max()) + 1) % recipe.folds
    network = RiskNetwork(bin_edges(examples.x, recipe.bins), recipe.members)
    _descend(network, examples, fold, recipe, rng, progress)
    return _calibrate(network, examples, fold, recipe)


def _descend(
    network: RiskNetwork, examples: Examples, fold: NDArray[np.int64], recipe: Recipe, rng: np.random.Generator, progress: Progress
) -> None:
    rows = _rows_by_stay(examples)
    steps = len(rows) // recipe.batch
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=recipe.epochs * steps, pct_start=0.1)
    network.train()
    for epoch in range(recipe.epochs):
        order = rng.permutation(len(rows))
        for stays in np.array_split(order[: steps * recipe.batch], steps):
            chosen = rows[stays, np.where(rng.random(len(stays)) < recipe.end_share, 0, rng.integers(0, rows.shape[1], len(stays)))]
            x = masking.at_random(examples.x[chosen], rng)
            loss = _loss(network, x, examples.died[chosen], _unseen(fold[stays], recipe))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
        progress(epoch + 1, recipe.epochs)
    network.eval()


def _loss(network: RiskNetwork, x: Matrix, died: NDArray[np.bool_], unseen: NDArray[np.bool_]) -> torch.Tensor:
    """Summed over members, each averaged over the stays that it may see."""
    logits = network(torch.from_numpy(x))
    target = torch.from_numpy(died.astype(np.float32)).expand_as(logits)
    weight = torch.from_numpy(~unseen).float()
    return (functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight / weight.sum(1, keepdim=True)).sum()


def _unseen(fold: NDArray[np.int64], recipe: Recipe) -> NDArray[np.bool_]:
    """[members, stays]: member m never sees the stays of fold m modulo folds."""
    unseen: NDArray[np.bool_] = np.arange(recipe.members)[:, None] % recipe.folds == fold[None]
    return unseen


def _rows_by_stay(examples: Examples) -> NDArray[np.int64]:
    """[stays, rows of a stay]; the row at 48 h is the first of each."""
    order = np.argsort(examples.stay, kind="stable")
    return order.reshape(int(examples.stay.max()) + 1, -1)


def _calibrate(network: RiskNetwork, examples: Examples, fold: NDArray[np.int64], recipe: Recipe) -> Trained:
    with torch.no_grad():
        logits = torch.cat([network(torch.from_numpy(part)) for part in np.array_split(examples.x, 32)], 1).numpy()
    unseen = _unseen(fold[examples.stay], recipe)
    mean = (logits * unseen).sum(0) / unseen.sum(0)
    slope, intercept = fit_logistic(mean[:, None], examples.died)
    model = CalibratedRisk(network, float(slope), float(intercept)).eval()
    return Trained(model, 1 / (1 + np.exp(-(slope * mean + intercept))))
