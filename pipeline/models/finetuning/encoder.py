"""Adapts the end of the encoder to the site's pictures: its last block, or low-rank changes of its last pointwise convolutions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.finetuning.inputs import Inputs, Mask, encoder_as_shipped
from pipeline.models.imaging.export import round_weights
from pipeline.models.imaging.network import BEFORE, CHANNELS, LEVELS, Encoder, Pooled
from pipeline.models.imaging.readout import Linear, fit

Matrix = NDArray[np.float64]
Adapt = Literal["frozen", "last-block", "low-rank"]
WAYS: tuple[Adapt, ...] = ("frozen", "last-block", "low-rank")
RIDGE = 200.0
"""Of the read-out, as the shipped head's."""
_LAST = 2 * CHANNELS[-1]
"""Features that an adapted block changes: the last ones."""
_RATES = {"last-block": 1e-4, "low-rank": 1e-3}
_HEAD_RATE = 3e-3
_BATCH, _EPOCHS, _PATIENCE = 16, 12, 3


class LowRank(nn.Module):  # type: ignore[misc]
    """A pointwise convolution plus a product of two thin ones, which starts at nothing."""

    def __init__(self, whole: nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.whole = whole
        self.down = nn.Parameter(torch.randn(rank, whole.in_channels) * whole.in_channels**-0.5)
        self.up = nn.Parameter(torch.zeros(whole.out_channels, rank))

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution that `merged` gives."""
        return self.whole(x) + functional.conv2d(functional.conv2d(x, self.down[:, :, None, None]), self.up[:, :, None, None])

    def merged(self) -> nn.Conv2d:
        """One convolution, of the same cost as before."""
        self.whole.weight.data += (self.up @ self.down)[:, :, None, None].detach()
        return self.whole


@dataclass(frozen=True, slots=True)
class Adapted:
    """An encoder's changed end (None: as shipped) with the read-out that was learned with it."""

    blocks: nn.Sequential | None
    readout: Linear
    epochs: int

    def features(self, data: Inputs, rows: Mask) -> Matrix:
        """[rows, WIDTH]."""
        frozen = data.seen.features[rows]
        if self.blocks is None or not rows.any():
            return frozen
        with torch.inference_mode():
            maps = torch.from_numpy(data.seen.maps[rows])
            parts = [torch.stack([_pooled(self.blocks, part[:, view]) for view in (0, 1)]).mean(0) for part in maps.split(_BATCH)]
        return np.hstack([frozen[:, :-_LAST], torch.cat(parts).double().numpy()])

    def logits(self, data: Inputs, rows: Mask) -> Matrix:
        """[rows]; 0 where there is no picture."""
        return np.where(data.has_image[rows], self.readout(self.features(data, rows)), 0.0)

    def encoder(self) -> Encoder:
        """The whole of it, weights as a file holds them."""
        whole = encoder_as_shipped()
        for place, block in enumerate(self.blocks or (), BEFORE + 1):
            whole.blocks[place] = block
        return whole


def adapted(data: Inputs, train: Mask, stop: Mask, adapt: Adapt, rank: int, seed: int) -> Adapted:
    """Learned on the pictures of `train`; adapting ends when `stop` gets no better. Epoch 0, the frozen encoder, takes part in that."""
    rows = train & data.has_image
    start = fit(data.seen.features[rows], data.positive[rows], RIDGE, data.favoured)
    stop = stop & data.has_image
    if adapt == "frozen" or not stop.any():
        return Adapted(None, start, 0)
    return _Training(data, rows, adapt, rank, seed, start).until_worse(stop)


def adapted_for(data: Inputs, train: Mask, epochs: int, adapt: Adapt, rank: int, seed: int) -> Adapted:
    """The same for a number of epochs that was found elsewhere."""
    rows = train & data.has_image
    start = fit(data.seen.features[rows], data.positive[rows], RIDGE, data.favoured)
    if adapt == "frozen" or epochs == 0:
        return Adapted(None, start, 0)
    return _Training(data, rows, adapt, rank, seed, start).run_for(epochs)


class _Training:
    """Encoder's end and read-out together, on the maps before the end."""

    def __init__(self, data: Inputs, rows: Mask, adapt: Adapt, rank: int, seed: int, start: Linear) -> None:
        torch.manual_seed(seed)
        self.data, self.generator = data, torch.Generator().manual_seed(seed)
        self.blocks = _unlocked(adapt, rank)
        self.maps = torch.from_numpy(data.seen.maps[rows])
        self.before = torch.from_numpy(data.seen.features[rows][:, :-_LAST]).float()
        self.label = torch.from_numpy(data.positive[rows]).float()
        self.mean = torch.from_numpy(data.seen.features[rows].mean(0)).float()
        self.size = torch.from_numpy(data.seen.features[rows].std(0) + 1e-6).float()
        self.weight = nn.Parameter(torch.from_numpy(start.weight).float() * self.size)
        self.bias = nn.Parameter(torch.tensor(start.bias + float(data.seen.features[rows].mean(0) @ start.weight)))
        changed = [one for one in self.blocks.parameters() if one.requires_grad]
        groups = [{"params": changed, "lr": _RATES[adapt]}, {"params": [self.weight, self.bias], "lr": _HEAD_RATE}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)

    def until_worse(self, stop: Mask) -> Adapted:
        best, least, waited = self.now(0), np.inf, 0
        for epoch in range(_EPOCHS + 1):
            if epoch:
                self.epoch()
            now = self.now(epoch)
            loss = _log_loss(now.logits(self.data, stop), self.data.positive[stop])
            if loss < least:
                best, least, waited = now, loss, 0
            elif (waited := waited + 1) >= _PATIENCE:
                break
        return best

    def run_for(self, epochs: int) -> Adapted:
        for _ in range(epochs):
            self.epoch()
        return self.now(epochs)

    def epoch(self) -> None:
        for part in torch.randperm(len(self.label), generator=self.generator).split(_BATCH):
            view = torch.randint(2, (len(part),), generator=self.generator)
            features = torch.cat([self.before[part], _pooled(self.blocks, self.maps[part, view])], 1)
            logits = ((features - self.mean) / self.size) @ self.weight + self.bias
            penalty = RIDGE / 2 / len(self.label) * self.weight.square().sum()
            loss = functional.binary_cross_entropy_with_logits(logits, self.label[part]) + penalty
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def now(self, epoch: int) -> Adapted:
        """As it stands, in the weights that a file will hold."""
        weight = (self.weight / self.size).detach().double().numpy()
        bias = float(self.bias.detach()) - float(self.mean.double().numpy() @ weight)
        return Adapted(_settled(self.blocks) if epoch else None, Linear(weight, bias), epoch)


def _unlocked(adapt: Adapt, rank: int) -> nn.Sequential:
    blocks = copy.deepcopy(encoder_as_shipped().blocks[BEFORE + 1 : LEVELS[-1] + 1])
    if adapt == "last-block":
        blocks[-1].requires_grad_(True)
    else:
        for block in blocks:
            block._expand_conv, block._project_conv = LowRank(block._expand_conv, rank), LowRank(block._project_conv, rank)
    return nn.Sequential(*blocks).eval()  # batch statistics stay those of ImageNet: batches are too small for others


def _settled(blocks: nn.Sequential) -> nn.Sequential:
    settled = copy.deepcopy(blocks)
    for block in settled:
        for name in ("_expand_conv", "_project_conv"):
            if isinstance(part := getattr(block, name), LowRank):
                setattr(block, name, part.merged())
    settled.requires_grad_(False)
    round_weights(settled)
    return settled


def _pooled(blocks: Sequence[nn.Module] | nn.Sequential, maps: Tensor) -> Tensor:
    """[n, _LAST]: mean and deviation, as `Pooled` of the last level."""
    for block in blocks:
        maps = block(maps)
    features: Tensor = Pooled()([maps], torch.zeros((1, 2 * maps.shape[1])))[0]
    return features


def _log_loss(logits: Matrix, positive: Mask) -> float:
    return float(np.mean(np.logaddexp(0, np.where(positive, -logits, logits))))
