"""All that decides the network's weights besides the data."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.models.multimodal.network import DEFAULT, Shape


@dataclass(frozen=True, slots=True)
class Recipe:
    """Member m is trained without fold m modulo `folds` of every data set, so that each row has members that have not seen it."""

    seed: int = 20121
    """Gives the same folds of set a as the clinical model's."""
    folds: int = 5
    members: int = 10
    cuts: int = 3
    """Random earlier moments of each stay."""
    stays: int | None = None
    films: int | None = None
    """How many of each data set at most; None: all."""
    epochs: int = 15
    """Over the stays; of the films as many steps."""
    batch: int = 128
    films_batch: int = 32
    learning_rate: float = 6e-3
    weight_decay: float = 0.1
    end_share: float = 0.5
    """How often the network is shown a stay as it stood at 48 h."""
    shape: Shape = DEFAULT
    dropped: float = 0.3
    """Chance that a modality of a film's row is hidden in a step."""
    processes: int = 2


SMALL = Recipe(folds=2, members=2, cuts=1, stays=240, films=60, epochs=2, processes=1)
"""For a test of the whole way: weights of no worth."""
