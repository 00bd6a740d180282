"""Figures of a fine-tuned model on patients that it has not seen, beside the shipped model, its own parts and the shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.bootstrap import bootstrap_interval, rounded
from pipeline.models.evaluation.calibration import fit_logistic, logit
from pipeline.models.evaluation.discrimination import Figure, auc
from pipeline.models.evaluation.summary import figures, subgroups
from pipeline.models.finetuning.fusion import PARTS, Recipe, learn
from pipeline.models.finetuning.inputs import Inputs, Mask, Progress
from pipeline.models.finetuning.pairs import Pair
from pipeline.models.finetuning.requests import members
from pipeline.models.finetuning.splits import MOST_FOLDS, check_apart, folds
from pipeline.models.finetuning.verdict import FUSED, SHIPPED

Matrix = NDArray[np.float64]
REPEATS = 5
"""Of cross-validation with the frozen encoder; once where the encoder is adapted, which costs much more."""
_SAMPLES = 500
_RIDGE = 1.0
_SHORTCUT_COLUMNS = ("projection", "scanner", "hospital")


@dataclass(frozen=True, slots=True)
class Tested:
    """Scores of rows that were not learned from. scores: name -> [repeats, rows]; rows, patients: those tested."""

    rows: Mask
    probability: Matrix
    scores: Mapping[str, Matrix]


def cross_validated(data: Inputs, pairs: Sequence[Pair], recipe: Recipe, progress: Progress) -> Tested:
    """Every patient is tested once a repeat, by what was learned on other patients."""
    every, repeats = np.ones(len(pairs), bool), REPEATS if recipe.adapt == "frozen" else 1
    scores: dict[str, list[Matrix]] = {}
    for repeat in range(repeats):
        fold = folds(data.positive, data.patient, MOST_FOLDS, recipe.seed + repeat)
        found: dict[str, Matrix] = {}
        for one in range(fold.max() + 1):
            test = fold == one
            check_apart(pairs, test)
            for name, values in _scores(data, pairs, ~test, test, recipe).items():
                found.setdefault(name, np.zeros(len(pairs)))[test] = values
            progress(repeat * (int(fold.max()) + 1) + one + 1, repeats * (int(fold.max()) + 1))
        for name, values in found.items():
            scores.setdefault(name, []).append(values)
    return _tested(every, {name: np.stack(values) for name, values in scores.items()})


def on_held_out(data: Inputs, pairs: Sequence[Pair], test: Mask, recipe: Recipe) -> Tested:
    """The patients of `test`, once, by what was learned on the others."""
    check_apart(pairs, test)
    return _tested(test, {name: values[None] for name, values in _scores(data, pairs, ~test, test, recipe).items()})


def report(data: Inputs, pairs: Sequence[Pair], tested: Tested) -> dict[str, Any]:
    """What stands in metrics.json."""
    positive, patient = data.positive[tested.rows], data.patient[tested.rows]
    rows = np.arange(len(positive), dtype=np.float64)
    by_name = {name: mean_auc(values) for name, values in tested.scores.items()}
    fused = tested.scores[FUSED]
    chosen = [pair for pair, inside in zip(pairs, tested.rows, strict=True) if inside]
    return {
        **figures(positive, tested.probability),
        "patients": len(set(patient)),
        "patients_with_outcome": len(set(patient[positive])),
        "repeats": len(fused),
        "auc_by_input": {name: _rounded(figure(positive, rows)) for name, figure in by_name.items()},
        "auc_by_input_95": {name: rounded(bootstrap_interval(each, positive, rows, patient, _SAMPLES)) for name, each in by_name.items()},
        "fused_minus_95": {
            name: rounded(bootstrap_interval(_difference(fused, values), positive, rows, patient, _SAMPLES))
            for name, values in tested.scores.items()
            if name != FUSED
        },
        "subgroups": subgroups(positive, tested.probability, members(chosen)),
    }


def gain(data: Inputs, tested: Tested, other: Tested) -> dict[str, Any]:
    """The AUC of each score that both have, `other`'s, and the difference with its interval: on the same rows, by the same splits."""
    positive, patient = data.positive[tested.rows], data.patient[tested.rows]
    rows, found = np.arange(len(positive), dtype=np.float64), {}
    for name in (FUSED, "image alone"):
        if name in tested.scores:
            ours, theirs = tested.scores[name], other.scores[name]
            pair = bootstrap_interval(_difference(ours, theirs), positive, rows, patient, _SAMPLES)
            found[name] = {
                "auc": _rounded(mean_auc(ours)(positive, rows)),
                "without": _rounded(mean_auc(theirs)(positive, rows)),
                "gain_95": rounded(pair),
            }
    return found


def helps(gain: Mapping[str, Any]) -> bool:
    """Something is better beyond its interval, and nothing is worse."""
    pairs = [one["gain_95"] for one in gain.values()]
    return any(low > 0 for low, _ in pairs) and all(high >= 0 for _, high in pairs)


def mean_auc(scores: Matrix) -> Figure:
    """Of row numbers instead of scores: the AUC's mean over the repeats, so that one bootstrap goes through all of them."""
    return lambda positive, rows: float(np.mean([auc(positive, one[rows.astype(int)]) for one in scores]))


def _difference(fused: Matrix, other: Matrix) -> Figure:
    first, second = mean_auc(fused), mean_auc(other)
    return lambda positive, rows: first(positive, rows) - second(positive, rows)


def _scores(data: Inputs, pairs: Sequence[Pair], train: Mask, test: Mask, recipe: Recipe) -> dict[str, Matrix]:
    fused = learn(data, train, recipe)
    parts = fused.parts(data, test)
    there = {"image": data.has_image.any(), "values": bool(np.isfinite(data.values).any()), "clinical": data.has_clinical.any()}
    found = {FUSED: fused.logits(data, test), **{f"{name} alone": parts[name] for name in PARTS if there.get(name)}}
    if data.concepts.any() or data.buckets is not None:
        found["text alone"] = data.concepts[test] @ fused.words + fused.join["text"] * parts["text"]
    found[SHIPPED[0]] = logit(data.clinical_risk[test])
    if np.isfinite(data.seen.shipped).any():
        found[SHIPPED[1]] = np.nan_to_num(data.seen.shipped[test], nan=0.5)
    return found | {name: _shortcut(design, data.positive, train, test) for name, design in _shortcuts(data, pairs).items()}


def _shortcuts(data: Inputs, pairs: Sequence[Pair]) -> dict[str, Matrix]:
    """What a model could lean on without having looked at the patient."""
    given = np.column_stack([data.has_image, data.has_text, ~np.isnan(data.values)]).astype(float)
    found = {"missingness alone": given} if np.ptp(given, axis=0).any() else {}
    for column in _SHORTCUT_COLUMNS:
        told = np.array([str(getattr(pair, column)) for pair in pairs])
        if len(set(told)) > 1:
            found[f"{column} alone"] = np.column_stack([told == value for value in sorted(set(told))]).astype(float)
    return found


def _shortcut(design: Matrix, positive: Mask, train: Mask, test: Mask) -> Matrix:
    weights = fit_logistic(design[train], positive[train], ridge=_RIDGE)
    return design[test] @ weights[:-1]


def _tested(rows: Mask, scores: Mapping[str, Matrix]) -> Tested:
    return Tested(rows, (1 / (1 + np.exp(-scores[FUSED]))).mean(0), scores)


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
