"""Network and trees as one calibrated answer: what goes before the trees in the graph, and what comes after them.

Every patient is asked about 1 + groups times: as they are, and without each group in turn. The differences are the contributions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.domain import features
from pipeline.models.clinical import masking
from pipeline.models.clinical.dataset import Matrix
from pipeline.models.clinical.network import RiskNetwork, present
from pipeline.models.evaluation.calibration import fit_logistic

_GROUPS, _COLUMNS = len(features.GROUPS), len(features.NAMES)
CONDITIONS = ("always", "no laboratory value", "no vital sign", "share of inputs absent")
"""What slope and intercept of the calibration depend on."""
_RIDGE = 1.0
_VITALS, _LABS = masking.MODALITIES["vitals only"], masking.MODALITIES["labs only"]


class Questions(nn.Module):  # type: ignore[misc]
    """Before the trees: features to the network's logits [b, 1 + groups, members], the rows to ask the trees about
    [b * (1 + groups), columns], which groups each of these has [b, 1 + groups, groups], and the novelty [b, 1]."""

    column_left_out: Tensor
    group_left_out: Tensor
    limits: Tensor
    heads: Tensor

    def __init__(self, network: RiskNetwork, limits: NDArray[np.float32]) -> None:
        """`limits`: [columns, 2], the middle 99.6 % of each feature in training."""
        super().__init__()
        self.network = network
        variants = np.concatenate([np.zeros((1, _GROUPS), dtype=bool), np.eye(_GROUPS, dtype=bool)])
        self.register_buffer("group_left_out", torch.from_numpy(variants))
        self.register_buffer("column_left_out", torch.from_numpy(variants[:, masking.GROUP_OF_COLUMN]))
        self.register_buffer("limits", torch.from_numpy(limits))
        self.register_buffer("heads", torch.from_numpy(masking.HEAD_OF_GROUP))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As the class says."""
        nothing = torch.full_like(x, float("nan")).unsqueeze(1)
        variants = torch.where(self.column_left_out, nothing, x.unsqueeze(1)).reshape(-1, _COLUMNS)
        there = present(x).unsqueeze(1) & ~self.group_left_out
        return self.network.left_out(x), variants, there.to(x.dtype), self.novelty(x)

    def novelty(self, x: Tensor) -> Tensor:
        """[b, 1]: how far the newest value that is furthest out lies beyond `limits`, in widths of its limits; 0 within all."""
        newest = torch.cat([x[:, : len(features.OBSERVABLES) * len(features.STATISTICS) : len(features.STATISTICS)], x[:, -2:]], 1)
        lowest, highest = self.limits[self.heads].unbind(1)
        beyond = torch.maximum(lowest - newest, newest - highest) / (highest - lowest).clamp(min=1e-6)
        return torch.where(torch.isnan(beyond), torch.zeros_like(beyond), beyond).clamp(min=0).amax(1, keepdim=True)


class Answer(nn.Module):  # type: ignore[misc]
    """After the trees: the logits of both to risk [b, 1], contributions [b, groups] and spread [b, 1]."""

    weights: Tensor

    def __init__(self, weights: NDArray[np.float64]) -> None:
        """`weights`: [3, conditions]: on the network's mean logit, on the trees', and the intercept, each for each of CONDITIONS."""
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(weights.astype(np.float32)))

    def forward(self, network: Tensor, trees: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes as `Questions` gives them; trees: [b * (1 + groups), boosters]."""
        trees = trees.reshape(-1, _GROUPS + 1, trees.shape[-1])
        by_network, by_trees, intercept = torch.matmul(conditions(there), self.weights.T).unbind(-1)
        logit = by_network * network.mean(-1) + by_trees * trees.mean(-1) + intercept
        chance = torch.sigmoid(logit)
        changes = torch.where(there[:, 0] > 0, chance[:, :1] - chance[:, 1:], torch.zeros_like(chance[:, 1:]))
        scatter = by_network[:, 0] ** 2 * _variance(network[:, 0]) + by_trees[:, 0] ** 2 * _variance(trees[:, 0])
        either_way = torch.sqrt(scatter)
        spread = (torch.sigmoid(logit[:, 0] + either_way) - torch.sigmoid(logit[:, 0] - either_way)) / 2
        return chance[:, :1], changes, spread.unsqueeze(-1)


def conditions(there: Tensor) -> Tensor:
    """[..., conditions] of which groups are there [..., groups], 1 or 0."""
    labs = (there * torch.from_numpy(_LABS.astype(np.float32))).amax(-1)
    vitals = (there * torch.from_numpy(_VITALS.astype(np.float32))).amax(-1)
    return torch.stack([torch.ones_like(labs), 1 - labs, 1 - vitals, 1 - there.mean(-1)], -1)


def _variance(logits: Tensor) -> Tensor:
    return ((logits - logits.mean(-1, keepdim=True)) ** 2).mean(-1)


def calibrate(network: NDArray[np.floating], trees: NDArray[np.floating], x: Matrix, died: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The weights of `Answer`, from mean logits [n] of members that had not seen the stay."""
    c = conditions(torch.from_numpy(masking.present(x).astype(np.float32))).numpy()
    fitted = fit_logistic(np.column_stack([network[:, None] * c, trees[:, None] * c, c[:, 1:]]), died, ridge=_RIDGE)
    by_network, by_trees, by_condition, always = np.split(fitted, (len(CONDITIONS), 2 * len(CONDITIONS), 3 * len(CONDITIONS) - 1))
    return np.stack([by_network, by_trees, np.concatenate([always, by_condition])])
