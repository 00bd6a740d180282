"""Trains the members: masked losses, whole modalities and single observables hidden at random, one fold of every data set never seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.multimodal.events import MODALITIES, MODALITY_OF_OBSERVABLE, OBSERVABLE_OF_CODE
from pipeline.models.multimodal.network import EventNetwork, Scales
from pipeline.models.multimodal.recipe import Recipe
from pipeline.models.multimodal.rows import DEATH, INTENSIVE_CARE, OUTPUTS, PNEUMONIA, Rows

Inputs = tuple[Tensor, Tensor, Tensor]
"""code, numbers and image, as the network takes them."""
_CHUNK = 128
_STAY_MODALITY = 0.1
"""Chance that a stay is shown without one of its modalities; besides, seven of ten lose up to 60 % of their observables."""
_HIDING, _MOST_HIDDEN = 0.7, 0.6
_SHARE = {DEATH: 1.0, PNEUMONIA: 1.0, INTENSIVE_CARE: 0.5}
"""Of an output's loss."""


def member(rows: Rows, scales: Scales, recipe: Recipe, number: int, outputs: Collection[int] = range(len(OUTPUTS))) -> EventNetwork:
    """Trained on rows with a label for `outputs`, not of fold `number` modulo folds; the same arguments give the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed + number)
    rng = np.random.default_rng(recipe.seed + number)
    network = EventNetwork(scales, len(OUTPUTS), recipe.shape)
    seen = rows.fold % recipe.folds != number % recipe.folds
    decks = {output: _Deck(_by_patient_row(rows, output, seen), rng) for output in outputs}
    steps = recipe.epochs * max(1, len(np.unique(rows.patient[rows.of(DEATH)])) // recipe.batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.1)
    sizes = {DEATH: recipe.batch, PNEUMONIA: recipe.films_batch, INTENSIVE_CARE: recipe.films_batch // 4}
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        for output, deck in decks.items():
            _learn(network, rows, deck.drawn(sizes[output], recipe.end_share), output, recipe, rng)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    network.eval()
    return network


class _Deck:
    """Rows of one data set, dealt without repeating a patient (stays) or film until all were dealt."""

    def __init__(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        """rows: [things, moments], the first being the one that counts."""
        self.rows, self.rng = rows, rng
        self.left: list[int] = []

    def drawn(self, count: int, first_share: float) -> NDArray[np.int64]:
        while len(self.left) < count:
            self.left += self.rng.permutation(len(self.rows)).tolist()
        chosen, self.left = self.left[:count], self.left[count:]
        moment = np.where(self.rng.random(count) < first_share, 0, self.rng.integers(0, self.rows.shape[1], count))
        return self.rows[chosen, moment]


def _by_patient_row(rows: Rows, output: int, seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[stays, moments] for stays, whose rows lie one after another; [films, 1] for films."""
    chosen = np.flatnonzero(~np.isnan(rows.label[:, output]) & seen)
    return chosen.reshape(max(1, int(rows.whole[chosen].sum())), -1)


def _learn(network: EventNetwork, rows: Rows, chosen: NDArray[np.int64], output: int, recipe: Recipe, rng: np.random.Generator) -> None:
    """Adds to the gradients. By length in four parts, so that little is padding."""
    length = np.diff(rows.events.start)[chosen]
    chosen = chosen[np.argsort(length, kind="stable")]
    for part in np.array_split(chosen, 2 if output == DEATH else 1):
        if not len(part):
            continue
        shown = hidden(*inputs(rows, part), rng, recipe, output == DEATH)
        loss = masked_loss(network(*shown), torch.from_numpy(rows.label[part]))
        (loss * (_SHARE[output] * len(part) / len(chosen))).backward()


def masked_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy, the mean over rows and then the sum over outputs, of those labels that are known; the others (NaN) say nothing."""
    known = ~torch.isnan(label)
    each = functional.binary_cross_entropy_with_logits(logits, torch.where(known, label, torch.zeros_like(label)), reduction="none")
    return ((each * known).sum(0) / known.sum(0).clamp(min=1)).sum()


def inputs(rows: Rows, chosen: NDArray[np.int64]) -> Inputs:
    """Some rows as the network takes them."""
    code, numbers = rows.events.padded(chosen)
    return torch.from_numpy(code), torch.from_numpy(numbers), torch.from_numpy(rows.image[chosen])


def hidden(code: Tensor, numbers: Tensor, image: Tensor, rng: np.random.Generator, recipe: Recipe, stays: bool) -> Inputs:
    """Modality dropout: a row loses each modality with some chance; a stay also single observables."""
    count, observables = len(code), len(MODALITY_OF_OBSERVABLE)
    chance = _STAY_MODALITY if stays else recipe.dropped
    kept = (rng.random((count, len(MODALITIES))) >= chance)[:, MODALITY_OF_OBSERVABLE]
    if stays:
        rate = np.where(rng.random(count) < _HIDING, rng.uniform(0, _MOST_HIDDEN, count), 0.0)
        kept &= rng.random((count, observables)) >= rate[:, None]
    shown = torch.gather(torch.from_numpy(kept), 1, torch.from_numpy(OBSERVABLE_OF_CODE)[code].clamp(min=0))
    film = torch.from_numpy(rng.random((count, 1)) >= chance)
    return torch.where(shown, code, torch.zeros_like(code)), numbers, torch.where(film, image, torch.full_like(image, torch.nan))


def logits(
    networks: Sequence[EventNetwork], rows: Rows, chosen: NDArray[np.int64], known: Collection[str] | None = None
) -> NDArray[np.float64]:
    """[chosen, OUTPUTS], the mean of the networks. known: the modalities that are shown, `image` among them or not; None for all."""
    image = "image" if known is None else known
    events = rows.events if known is None else rows.events.only(known)
    order = chosen[np.argsort(np.diff(events.start)[chosen], kind="stable")]
    told = np.empty((len(rows), len(OUTPUTS)))
    with torch.inference_mode():
        for part in np.array_split(order, max(1, len(order) // _CHUNK)):
            code, numbers = events.padded(part)
            film = rows.image[part] if "image" in image else np.full_like(rows.image[part], np.nan)
            asked = torch.from_numpy(code), torch.from_numpy(numbers), torch.from_numpy(film)
            told[part] = torch.stack([network(*asked) for network in networks]).mean(0).numpy()
    answer: NDArray[np.float64] = told[chosen]
    return answer
