"""All that decides the weights besides the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it was chosen stands in the card. Member or booster m never sees the stays of fold m modulo `folds`."""

    seed: int = 20121
    folds: int = 5
    cuts: int = 7
    """Random earlier moments prepared for each stay."""
    threads: int = 1
    """Of the network and of the trees each; they are made at the same time."""

    members: int = 10
    bins: int = 6
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.3
    end_share: float = 0.5
    """How often the network is shown a stay as it stood at 48 h; else at one of its random earlier moments."""

    tree_seeds: int = 2
    rounds: int = 200
    leaves: int = 8
    tree_learning_rate: float = 0.05


SMALL = Recipe(folds=2, cuts=2, members=2, bins=4, epochs=2, tree_seeds=1, rounds=15, tree_learning_rate=0.1)
"""For a test of the whole way: seconds, and weights of no worth."""
