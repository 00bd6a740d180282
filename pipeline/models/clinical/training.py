"""Trains network and trees on set a and calibrates them on the predictions that each stay got from members which had not seen it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.domain import features
from pipeline.models.clinical import ensemble, masking, trees
from pipeline.models.clinical.dataset import Examples, Matrix
from pipeline.models.clinical.network import RiskNetwork, bin_edges
from pipeline.models.clinical.recipe import Recipe
from pipeline.models.device import fastest

Progress = Callable[[str, int, int], None]
"""Told (what is done, steps done, steps in all)."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Both parts, the weights that join them, and what each said of training rows that it had not seen."""

    network: RiskNetwork
    boosters: list[Any]
    weights: NDArray[np.float64]
    unseen: Unseen


@dataclass(frozen=True, slots=True)
class Unseen:
    """Rows of the training stays and the mean logits of the members that had not seen the stay: all [n] but x [n, columns]."""

    x: Matrix
    died: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    """Which rows are a stay at 48 h with all its inputs; there is one a stay."""
    network: NDArray[np.float64]
    trees: NDArray[np.float64]

    @property
    def joined(self) -> NDArray[np.float64]:
        """The plain mean of both logits."""
        return (self.network + self.trees) / 2


def train(examples: Examples, recipe: Recipe, progress: Progress = lambda what, done, of: None) -> Trained:
    """The same recipe and examples give the same weights on the same builds of torch and LightGBM. Both parts side by side, a core each."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    fold = rng.permutation(int(examples.stay.max()) + 1) % recipe.folds
    network = RiskNetwork(bin_edges(examples.x, recipe.bins), recipe.members)
    with ThreadPoolExecutor(1) as beside:
        growing = beside.submit(trees.grow, examples, fold, recipe, lambda done, of: progress("trees", done, of))
        _descend(network, examples, fold, recipe, rng, lambda done, of: progress("network", done, of))
        boosters = growing.result()
    unseen = _unseen_rows(network, boosters, examples, fold, recipe)
    return Trained(network, boosters, ensemble.calibrate(unseen.network, unseen.trees, unseen.x, unseen.died), unseen)


def _descend(
    network: RiskNetwork, examples: Examples, fold: NDArray[np.int64], recipe: Recipe, rng: np.random.Generator, progress: trees.Progress
) -> None:
    network.to(fastest())
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
    network.cpu().eval()


def _loss(network: RiskNetwork, x: Matrix, died: NDArray[np.bool_], unseen: NDArray[np.bool_]) -> torch.Tensor:
    """Summed over members, each averaged over the stays that it may see."""
    place = network.output.device
    logits = network(torch.from_numpy(x).to(place))
    target = torch.from_numpy(died.astype(np.float32)).to(place).expand_as(logits)
    weight = torch.from_numpy(~unseen).float().to(place)
    return (functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight / weight.sum(1, keepdim=True)).sum()


def _unseen(fold: NDArray[np.int64], recipe: Recipe) -> NDArray[np.bool_]:
    """[members, stays]: member m never sees the stays of fold m modulo folds."""
    unseen: NDArray[np.bool_] = np.arange(recipe.members)[:, None] % recipe.folds == fold[None]
    return unseen


def _rows_by_stay(examples: Examples) -> NDArray[np.int64]:
    """[stays, rows of a stay]; the row at 48 h is the first of each."""
    order = np.argsort(examples.stay, kind="stable")
    return order.reshape(int(examples.stay.max()) + 1, -1)


def _unseen_rows(network: RiskNetwork, boosters: list[Any], examples: Examples, fold: NDArray[np.int64], recipe: Recipe) -> Unseen:
    """Every row as it is, and each stay at 48 h with whole kinds of input or random ones taken away."""
    end, rng = np.flatnonzero(examples.at_end), np.random.default_rng(recipe.seed)
    kinds = [masking.MODALITIES[name] for name in ("vitals only", "labs only", "vitals and demographics", "labs and demographics")]
    masks = [*kinds, rng.random((len(end), len(features.GROUPS))) > rng.uniform(0.2, 0.8, (len(end), 1))]
    x = np.concatenate([examples.x, *(masking.keep(examples.x[end], mask) for mask in masks)])
    rows = np.concatenate([np.arange(len(examples.x)), *([end] * len(masks))])
    whole = (np.arange(len(x)) < len(examples.x)) & examples.at_end[rows]
    with torch.no_grad():
        by_network = torch.cat([network(torch.from_numpy(part)) for part in np.array_split(x, 64)], 1).numpy().T
    fold_of_row = fold[examples.stay[rows]]
    means = [_mean_unseen(logits, fold_of_row, recipe) for logits in (by_network, trees.logits(boosters, x))]
    return Unseen(x, examples.died[rows], whole, *means)


def _mean_unseen(logits: NDArray[np.float32], fold: NDArray[np.int64], recipe: Recipe) -> NDArray[np.float64]:
    unseen = np.arange(logits.shape[1]) % recipe.folds == fold[:, None]
    mean: NDArray[np.float64] = (logits * unseen).sum(1) / unseen.sum(1)
    return mean
