"""The clinical risk network: one small encoder for each observable, their sum through a common head, a calibrated ensemble of these.

Because the observables meet only in that sum, "the same patient without potassium" costs one subtraction: the graph answers with every
leave-one-out difference beside the risk.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.domain import features

_OBSERVABLES, _STATISTICS = len(features.OBSERVABLES), len(features.STATISTICS)
_GROUPS = len(features.GROUPS)
_NEVER = 1e30
"""Lower edge of a bin that a feature with few distinct values has no use for."""


def bin_edges(x: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """[features, bins + 1]: quantiles of each column's values, the outermost at 0.2 and 99.8 %, where input is clipped."""
    edges = np.full((x.shape[1], bins + 1), _NEVER, dtype=np.float32)
    levels = [0.002, *np.linspace(0, 1, bins + 1)[1:-1], 0.998]
    for row, column in zip(edges, complete(x).T, strict=True):
        distinct = np.unique(np.quantile(column[~np.isnan(column)], levels).astype(np.float32))
        row[: len(distinct)] = distinct
    return edges


def complete(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`x` with the statistics of a single value filled in: min, max and mean are the value, delta and span are 0."""
    completed: NDArray[np.float32] = _complete(torch.from_numpy(x)).numpy()
    return completed


def _complete(x: Tensor) -> Tensor:
    blocks = x[:, : _OBSERVABLES * _STATISTICS].reshape(-1, _OBSERVABLES, _STATISTICS)
    last, age, level, change = blocks[..., :1], blocks[..., 1:2], blocks[..., 2:5], blocks[..., 5:]
    level = torch.where(torch.isnan(level), last.expand_as(level), level)
    change = torch.where(torch.isnan(change), last * 0, change)
    return torch.cat([torch.cat([last, age, level, change], -1).flatten(1), x[:, _OBSERVABLES * _STATISTICS :]], -1)


class RiskNetwork(nn.Module):  # type: ignore[misc]
    """`members` networks side by side. Input: [batch, len(features.NAMES)], NaN = absent. Output: logits [members, batch]."""

    low: Tensor
    width: Tensor

    def __init__(
        self, edges: NDArray[np.float32], members: int, inner: int = 12, hidden: int = 48, head: int = 32, dropout: float = 0.4
    ) -> None:
        super().__init__()
        width = np.diff(edges, axis=1)
        used = (edges[:, 1:] < _NEVER) & (width > 0)
        self.register_buffer("low", torch.tensor(np.where(used, edges[:, :-1], _NEVER)))
        self.register_buffer("width", torch.tensor(np.where(used, width, 1).astype(np.float32)))
        self.dropout = dropout
        inputs = _STATISTICS * used.shape[1]
        self.encoder = _weights(members, _GROUPS, inputs, inner, scale=inputs**-0.5)
        self.encoder_bias = _weights(members, _GROUPS, 1, inner)
        self.embedding = _weights(members, _GROUPS, inner, hidden, scale=(8 * inner) ** -0.5)
        self.absent = _weights(members, _GROUPS, 1, hidden)
        self.sum_bias = _weights(members, 1, hidden)
        self.head = _weights(members, hidden, head, scale=(2 / hidden) ** 0.5)
        self.head_bias = _weights(members, 1, head)
        self.linear = _weights(members, hidden, 1)
        self.output = _weights(members, head, 1, scale=0.1)
        self.output_bias = nn.Parameter(torch.full((members, 1, 1), -1.8))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [members, batch]."""
        return self.decide(self.embed(x).sum(1))

    def embed(self, x: Tensor) -> Tensor:
        """[members, groups, batch, hidden]: what each observable adds to the sum; an absent one adds its own learned vector."""
        filled = _complete(x)
        known = torch.where(torch.isnan(filled), torch.zeros_like(filled), filled)
        steps = ((known.unsqueeze(-1) - self.low) / self.width).clamp(0, 1)
        observed = steps[:, : _OBSERVABLES * _STATISTICS].reshape(x.shape[0], _OBSERVABLES, -1)
        person = functional.pad(steps[:, _OBSERVABLES * _STATISTICS :], (0, observed.shape[2] - steps.shape[2]))
        inputs = torch.cat([observed, person], 1).transpose(0, 1).unsqueeze(0)
        embedded = torch.matmul(torch.relu(torch.matmul(inputs, self.encoder) + self.encoder_bias), self.embedding)
        return torch.where(present(x).transpose(0, 1)[None, :, :, None], embedded, self.absent)

    def decide(self, total: Tensor) -> Tensor:
        """Logits [members, …] of summed embeddings [members, …, hidden]."""
        first = functional.dropout(torch.relu(total + self.sum_bias), self.dropout, self.training)
        second = functional.dropout(torch.relu(torch.matmul(first, self.head) + self.head_bias), self.dropout, self.training)
        return (torch.matmul(second, self.output) + torch.matmul(first, self.linear) + self.output_bias).squeeze(-1)


class CalibratedRisk(nn.Module):  # type: ignore[misc]
    """What is exported: the members' mean logit through Platt's sigmoid, and the change of the probability by each group."""

    platt: Tensor

    def __init__(self, network: RiskNetwork, slope: float, intercept: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("platt", torch.tensor([slope, intercept], dtype=torch.float32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """risk [batch, 1]; contributions [batch, groups]: risk minus the risk without that group, 0 where it is absent anyway."""
        embedded = self.network.embed(x)
        total = embedded.sum(1)
        risk = self._probability(self.network.decide(total))
        members, groups, _, hidden = embedded.shape
        without = (total.unsqueeze(1) - embedded + self.network.absent).reshape(members, -1, hidden)
        left_out = self._probability(self.network.decide(without)).reshape(groups, -1).transpose(0, 1)
        risk = risk.unsqueeze(-1)
        return risk, torch.where(present(x), risk - left_out, torch.zeros_like(left_out))

    def _probability(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits.mean(0) * self.platt[0] + self.platt[1])


def present(x: Tensor) -> Tensor:
    """[batch, groups]: an observable is there when its newest value is."""
    newest = x[:, : _OBSERVABLES * _STATISTICS : _STATISTICS]
    return ~torch.isnan(torch.cat([newest, x[:, _OBSERVABLES * _STATISTICS :]], -1))


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers were learned."""
    return sum(parameter.numel() for parameter in parameters)


def _weights(*shape: int, scale: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * scale)
