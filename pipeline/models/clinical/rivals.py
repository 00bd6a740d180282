"""What else could be shipped, on the same stays: logistic regression, each part of the ensemble alone, and trees on the whole series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.domain import features
from pipeline.domain.readings import Reading
from pipeline.models.clinical import trees
from pipeline.models.clinical.dataset import Examples, Matrix
from pipeline.models.clinical.evaluation import ranked
from pipeline.models.clinical.network import complete
from pipeline.models.clinical.physionet import ADMISSION, STAY, Stay
from pipeline.models.clinical.recipe import Recipe
from pipeline.models.clinical.training import Trained
from pipeline.models.evaluation.calibration import fit_logistic
from pipeline.models.evaluation.discrimination import Labels

_QUARTER_H = STAY.total_seconds() / 4 / 3600


def on_training(trained: Trained, train: Examples, recipe: Recipe) -> dict[str, dict[str, float]]:
    """By cross-validation inside the training set, at 48 h: every stay by members that had not seen it."""
    unseen = trained.unseen
    rows, died = unseen.whole, unseen.died[unseen.whole]
    end = train.x[train.at_end]
    fold = np.random.default_rng(recipe.seed).permutation(len(end)) % recipe.folds
    linear = np.empty(len(end))
    for number in range(recipe.folds):
        linear[fold == number] = _logistic(end[fold != number], died[fold != number], end[fold == number])
    return {
        "logistic regression": ranked(died, linear),
        "set network alone": ranked(died, unseen.network[rows]),
        "boosted trees alone": ranked(died, unseen.trees[rows]),
        "ensemble (shipped)": ranked(died, unseen.joined[rows]),
    }


def on_test(trained: Trained, train: Examples, test: Examples, probability: NDArray[np.floating]) -> dict[str, dict[str, float]]:
    """The same on the test set; `probability`: the shipped graph's."""
    end = train.at_end
    with torch.no_grad():
        network = trained.network(torch.from_numpy(test.x)).mean(0).numpy()
    return {
        "logistic regression": ranked(test.died, _logistic(train.x[end], train.died[end], test.x)),
        "set network alone": ranked(test.died, network),
        "boosted trees alone": ranked(test.died, trees.logits(trained.boosters, test.x).mean(1)),
        "ensemble (shipped)": ranked(test.died, probability),
    }


def whole_series(train: Sequence[Stay], test: Sequence[Stay], recipe: Recipe, seeds: int = 2) -> dict[str, float]:
    """LightGBM on features of every reading of the 48 h, more than a stream's window carries."""
    x, died = _series(train), np.array([stay.died for stay in train])
    score = np.zeros(len(test))
    asked = _series(test)
    for seed in range(seeds):
        settings = {"objective": "binary", "learning_rate": 0.02, "num_leaves": 8, "min_child_samples": 20, "feature_fraction": 0.15}
        settings |= {
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "seed": seed,
            "num_threads": recipe.threads,
            "verbosity": -1,
        }
        score += lightgbm.train(settings, lightgbm.Dataset(x, died), recipe.rounds * 5 // 2).predict(asked, raw_score=True)
    return ranked(np.array([stay.died for stay in test]), score)


def _logistic(x: Matrix, died: Labels, asked: Matrix) -> NDArray[np.float64]:
    """On standardised inputs, the median where one is absent."""
    filled, wanted = complete(x), complete(asked)
    middle = np.nan_to_num(np.nanmedian(filled, 0))
    filled, wanted = (np.where(np.isnan(rows), middle, rows) for rows in (filled, wanted))
    mean, scale = filled.mean(0), filled.std(0) + 1e-6
    filled, wanted = (np.clip((rows - mean) / scale, -3, 3) for rows in (filled, wanted))
    weights = fit_logistic(filled, died, ridge=300.0)
    score: NDArray[np.float64] = wanted @ weights[:-1] + weights[-1]
    return score


def _series(stays: Sequence[Stay]) -> NDArray[np.float64]:
    """[stays, 13 statistics of each observable, then age and sex]; NaN = absent."""
    rows = [[number for name in features.OBSERVABLES for number in _statistics(stay.readings.get(name, ()))] for stay in stays]
    people = [[np.nan if stay.age is None else stay.age, {"F": 1.0, "M": 0.0}.get(stay.sex, np.nan)] for stay in stays]
    return np.column_stack([rows, people])


def _statistics(series: Sequence[Reading]) -> list[Any]:
    """last, first, least, greatest, mean, median, deviation, count, ages of the last and the first, slope, means of the outer quarters."""
    if not series:
        return [np.nan] * 13
    hours = np.array([(reading.at - ADMISSION).total_seconds() / 3600 for reading in series])
    value = np.array([reading.value for reading in series])
    early, late = value[hours < _QUARTER_H], value[hours >= 3 * _QUARTER_H]
    centred = hours - hours.mean()
    slope = float(centred @ value / (centred @ centred)) if centred.any() else 0.0
    outer = [part.mean() if len(part) else np.nan for part in (early, late)]
    ages = [48 - hours[-1], 48 - hours[0]]
    return [value[-1], value[0], value.min(), value.max(), value.mean(), np.median(value), value.std(), len(value), *ages, slope, *outer]
