"""All networks that the comparison needs, each with what it says of rows that it has not seen; side by side in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.models.multimodal import training
from pipeline.models.multimodal.network import EventNetwork, Scales, scales
from pipeline.models.multimodal.recipe import Recipe
from pipeline.models.multimodal.rows import OUTPUTS, Rows, modalities, subsets

Matrix = NDArray[np.float64]
Progress = Callable[[int, int], None]
Asked = tuple[int, str]
"""An output and the name of a choice of its inputs."""


@dataclass(frozen=True, slots=True)
class Material:
    """train: rows to learn from, with their folds. test: rows that no network learns from."""

    train: Rows
    test: Rows
    scales: Scales
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Told:
    """What one network says, by output and choice of inputs. unseen: of the training rows that count and it has not seen; test: of all."""

    number: int
    outputs: tuple[int, ...]
    weights: Mapping[str, Any]
    unseen: Mapping[Asked, Matrix]
    test: Mapping[Asked, Matrix]


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits by networks that have not seen the row, as the mean of those there are.

    shared: of the networks that learned all outputs; alone, and shared_once: of as many networks, of the same seeds, that learned one
    output or all; these from all inputs only.
    """

    networks: list[EventNetwork]
    shared: Mapping[Asked, Matrix]
    test: Mapping[Asked, Matrix]
    alone: Mapping[int, Matrix]
    shared_once: Mapping[int, Matrix]


def material(train: Rows, test: Rows, recipe: Recipe) -> Material:
    """With the scales of the training rows."""
    return Material(train, test, scales(train.events, train.image), recipe)


def counted(rows: Rows, output: int) -> NDArray[np.int64]:
    """The rows that its figures are made of."""
    labelled = rows.of(output)
    return labelled[rows.whole[labelled]]


def trained(given: Material, progress: Progress = lambda done, of: None) -> Answers:
    """`members` networks on all outputs and, for each output, one a fold on it alone."""
    recipe = given.recipe
    every = tuple(range(len(OUTPUTS)))
    jobs = [(number, every) for number in range(recipe.members)]
    jobs += [(number, (output,)) for output in every for number in range(recipe.folds)]
    told = []
    for done, one in enumerate(_done(given, jobs), 1):
        told.append(one)
        progress(done, len(jobs))
    together = sorted((one for one in told if one.outputs == every), key=lambda one: one.number)
    once = [one for one in together if one.number < recipe.folds]
    full = {output: list(subsets(output))[-1] for output in every}
    return Answers(
        networks=[_network(given, one) for one in together],
        shared={asked: _unseen(given, together, asked) for output in every for asked in _asked(output)},
        test={asked: np.mean([one.test[asked] for one in together], 0) for asked in together[0].test},
        alone={o: _unseen(given, [one for one in told if one.outputs == (o,)], (o, full[o])) for o in every},
        shared_once={o: _unseen(given, once, (o, full[o])) for o in every},
    )


def _asked(output: int) -> list[Asked]:
    return [(output, name) for name in subsets(output)]


def _unseen(given: Material, told: Sequence[Told], asked: Asked) -> Matrix:
    """[counted rows]: each by the networks that left its fold out."""
    fold = given.train.fold[counted(given.train, asked[0])] % given.recipe.folds
    sums, counts = np.zeros(len(fold)), np.zeros(len(fold))
    for one in told:
        rows = fold == one.number % given.recipe.folds
        sums[rows] += one.unseen[asked]
        counts[rows] += 1
    mean: Matrix = sums / counts
    return mean


def _network(given: Material, told: Told) -> EventNetwork:
    network = EventNetwork(given.scales, len(OUTPUTS), given.recipe.shape)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in told.weights.items()})
    network.eval()
    return network


def _done(given: Material, jobs: Sequence[tuple[int, tuple[int, ...]]]) -> Iterator[Told]:
    """In any order: each depends on its number alone."""
    if given.recipe.processes == 1:
        yield from (_told(given, *job) for job in jobs)
        return
    with ProcessPoolExecutor(given.recipe.processes, get_context("spawn"), _begin, (given,)) as pool:
        for future in as_completed([pool.submit(_job, *job) for job in jobs]):
            yield future.result()


_given: list[Material] = []


def _begin(given: Material) -> None:
    _given.append(given)


def _job(number: int, outputs: tuple[int, ...]) -> Told:
    return _told(_given[0], number, outputs)


def _told(given: Material, number: int, outputs: tuple[int, ...]) -> Told:
    network = training.member(given.train, given.scales, given.recipe, number, outputs)
    unseen: dict[Asked, Matrix] = {}
    test: dict[Asked, Matrix] = {}
    for output in outputs:
        rows = counted(given.train, output)
        rows = rows[given.train.fold[rows] % given.recipe.folds == number % given.recipe.folds]
        choices = subsets(output) if len(outputs) > 1 else dict(list(subsets(output).items())[-1:])
        for name, chosen in choices.items():
            shown = modalities(output, chosen)
            unseen[output, name] = training.logits([network], given.train, rows, shown)[:, output]
            if len(outputs) > 1 and len(asked := counted(given.test, output)):
                test[output, name] = training.logits([network], given.test, asked, shown)[:, output]
    weights = {name: value.numpy() for name, value in network.state_dict().items()} if len(outputs) > 1 else {}
    return Told(number, outputs, weights, unseen, test)
