"""What else could read pneumonia from a film, by cross-validation inside the training patients: each beside the read-out that ships."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.device import fastest
from pipeline.models.evaluation.calibration import fit_logistic
from pipeline.models.finetuning.encoder import adapted
from pipeline.models.finetuning.inputs import Inputs, Seen
from pipeline.models.imaging import readout
from pipeline.models.imaging.films import Films, Mask
from pipeline.models.imaging.network import CHANNELS
from pipeline.models.imaging.recipe import SEED

Matrix = NDArray[np.float64]
Folds = NDArray[np.int64]
Step = Callable[[str], None]

_KERNEL_RIDGE, _KERNEL_WIDTH = 0.1, 1.0
"""Width in units of the median distance of two films."""
_RATE, _DECAY, _EPOCHS, _BATCH = 2e-3, 1e-2, 15, 32


def crossed(
    films: Films, features: Matrix, maps: NDArray[np.floating], fold: Folds, ridge: float, step: Step, seed: int = SEED
) -> dict[str, Matrix]:
    """Logits of every film by what had not seen its patient. maps: [n, 2, channels, h, w] before the encoder's last blocks."""
    positive, last = films.positive, 2 * CHANNELS[-1]
    found = {"the encoder's last layer alone, ridge": readout.crossed(features[:, -last:], positive, fold, ridge)}
    step("rival: kernel machine")
    found["all levels, kernel machine"] = _each(fold, lambda rest, test: _kernel(features[rest], positive[rest], features[test]))
    step("rival: last block trained")
    data = _inputs(films, features, maps)
    found["last block trained on"] = _each(fold, lambda rest, test: _last_block(data, rest, test, seed))
    step("rival: own network")
    small = functional.avg_pool2d(torch.from_numpy(films.pictures).float()[:, None] / 128 - 1, 2)
    found["small own network"] = _each(fold, lambda rest, test: _network(small[rest], positive[rest], small[test], seed))
    return found


def _each(fold: Folds, unseen: Callable[[Mask, Mask], Matrix]) -> Matrix:
    logits = np.full(len(fold), np.nan)
    for one in np.unique(fold):
        logits[fold == one] = unseen(fold != one, fold == one)
    return logits


def _kernel(features: Matrix, positive: Mask, asked: Matrix) -> Matrix:
    """Logistic regression in the space of a Gaussian kernel."""
    mean, size = features.mean(0), features.std(0) + 1e-6
    films, others = (features - mean) / size, (asked - mean) / size
    apart = _distances(films, films)
    width = _KERNEL_WIDTH * np.median(apart)
    spread, axes = np.linalg.eigh(np.exp(-apart / width))
    kept = spread > 1e-6 * spread[-1]
    root = axes[:, kept] / np.sqrt(spread[kept])
    weights = fit_logistic(np.exp(-apart / width) @ root, positive, ridge=_KERNEL_RIDGE)
    logits: Matrix = np.exp(-_distances(others, films) / width) @ root @ weights[:-1] + weights[-1]
    return logits


def _distances(a: Matrix, b: Matrix) -> Matrix:
    """Squared, of every row to every other."""
    apart: Matrix = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.maximum(apart, 0)


def _inputs(films: Films, features: Matrix, maps: NDArray[np.floating]) -> Inputs:
    """Films alone, as fine-tuning takes them."""
    n = len(films)
    nothing, unknown = np.zeros((n, 0)), np.full(n, np.nan)
    seen = Seen(features, maps.astype(np.float32), unknown, np.zeros(n, bool))
    blank = nothing.astype(np.float32)
    return Inputs(films.positive, films.patient, blank, unknown, nothing, (), nothing, np.ones(n, bool), np.zeros(n, bool), seen)


def _last_block(data: Inputs, rest: Mask, test: Mask, seed: int) -> Matrix:
    """As `finetune --adapt last-block`, but that the very patients tested say when to end, which flatters it and halves the work."""
    return adapted(data, rest, test, "last-block", 0, seed).logits(data, test)


class _Network(nn.Sequential):  # type: ignore[misc]
    """Five convolutions, mean over the picture, one weight a channel: 100,000 numbers."""

    def __init__(self) -> None:
        widths = (1, 16, 32, 64, 96, 128)
        blocks = [
            nn.Sequential(nn.Conv2d(before, after, 3, 2 if at < 4 else 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for at, (before, after) in enumerate(itertools.pairwise(widths))
        ]
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(widths[-1], 1))


def _network(pictures: Tensor, positive: Mask, asked: Tensor, seed: int = SEED) -> Matrix:
    """Trained from nothing on the films, mirrored and shifted; one set of settings, the last epoch counts."""
    torch.manual_seed(seed)
    place = fastest()
    network, label = _Network().to(place), torch.tensor(positive, dtype=torch.float32, device=place)
    steps = _EPOCHS * -(-len(label) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(_EPOCHS):
        for part in torch.randperm(len(label)).split(_BATCH):
            seen = pictures[part].roll(tuple(torch.randint(-8, 9, (2,)).tolist()), (2, 3))
            seen = torch.where(torch.rand(len(part), 1, 1, 1) < 0.5, seen.flip(3), seen)
            loss = functional.binary_cross_entropy_with_logits(network(seen.to(place))[:, 0], label[part.to(place)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    network.eval()
    with torch.inference_mode():
        shown = [part.to(place) for part in asked.split(64)]
        logits: Matrix = torch.cat([(network(part) + network(part.flip(3)))[:, 0] / 2 for part in shown]).double().cpu().numpy()
    return logits
