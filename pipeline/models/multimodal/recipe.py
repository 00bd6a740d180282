"""All that decides the network's weights besides the data."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.models.multimodal.network import DEFAULT, Shape


@dataclass(frozen=True, slots=True)
class Recipe:
    """Member m is trained without fold m modulo `folds` of every data set, so that each row has members that have not seen it."""

    seed: int = 20121
    """Of the networks and the earlier moments. Set a's folds are the clinical model's, whatever it is."""
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

CHOSEN = """\
Its settings are the project's, chosen once, inside the training sets alone. For stays, on one fold of set a, single
networks: AUC 0.812 where questions were about anything at first, 0.817 to 0.827 where each cared a little for an observable of its own,
0.836 with the settings kept, 0.827 to 0.830 where it cared for nearly nothing else; 0.823 to 0.829 with a second question for each
observable that prefers what is new; 0.816 to 0.817 in small batches with more steps; 0.821 to 0.822 from straight beginnings between the
knots; 0.840 with SOFA and SAPS-I, at three thresholds each, as further outputs, which one fold does not tell from 0.836 (shipped on that
fold, two members each: set network 0.852, trees 0.870). For films, on three folds: tokens bent or straight, components dropped or not,
three rates. Those folds judge the network too, so that the figures by cross-validation are a little flattered."""
"""For the card of what was trained by `Recipe()`."""
