"""The clinical risk network: one small encoder for each observable, their sum through a common head, several of these side by side.

A patient is a set of observables, any of them absent. Because they meet only in that sum, "the same patient without potassium" costs one
subtraction.
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
_LIKE_LAST = torch.tensor([float(name in ("last", "min", "max", "mean", "earlier")) for name in features.STATISTICS])
_LIKE_ONE = torch.tensor([float(name == "count") for name in features.STATISTICS])
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


def limits(x: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """[features, 2]: between which values of each feature the network tells them apart."""
    edges = bin_edges(x, bins)
    return np.stack([edges[:, 0], np.where(edges < _NEVER, edges, -_NEVER).max(1)], 1)


def complete(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`x` with the statistics of a single value filled in: min, max, mean and earlier are the value, count is 1, the others are 0."""
    completed: NDArray[np.float32] = _complete(torch.from_numpy(x)).numpy()
    return completed


def _complete(x: Tensor) -> Tensor:
    blocks = x[:, : _OBSERVABLES * _STATISTICS].reshape(-1, _OBSERVABLES, _STATISTICS)
    last = blocks[..., :1]
    single = last * _LIKE_LAST.to(x.device) + (last * 0 + 1) * _LIKE_ONE.to(x.device)
    filled = torch.where(torch.isnan(blocks), single, blocks)
    return torch.cat([filled.flatten(1), x[:, _OBSERVABLES * _STATISTICS :]], -1)


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

    def left_out(self, x: Tensor) -> Tensor:
        """Logits [batch, 1 + groups, members]: with everything, then without each group in turn."""
        embedded = self.embed(x)
        total = embedded.sum(1, keepdim=True)
        members, _, _, hidden = embedded.shape
        sums = torch.cat([total, total - embedded + self.absent], 1)
        return self.decide(sums.reshape(members, -1, hidden)).reshape(members, _GROUPS + 1, -1).permute(2, 1, 0)

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


def present(x: Tensor) -> Tensor:
    """[batch, groups]: an observable is there when its newest value is."""
    newest = x[:, : _OBSERVABLES * _STATISTICS : _STATISTICS]
    return ~torch.isnan(torch.cat([newest, x[:, _OBSERVABLES * _STATISTICS :]], -1))


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers were learned."""
    return sum(parameter.numel() for parameter in parameters)


def _weights(*shape: int, scale: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * scale)
