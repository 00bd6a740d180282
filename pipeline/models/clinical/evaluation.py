"""The figures of a model on a set of stays; needs onnxruntime only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.models import metrics
from pipeline.models.clinical import masking
from pipeline.models.clinical.dataset import Examples, Matrix, at_end, at_hours
from pipeline.models.clinical.physionet import Stay

Predict = Callable[[Matrix], NDArray[np.floating]]
"""Features [n, names] to probabilities [n]."""

FIGURES: dict[str, metrics.Figure] = {
    "auc": metrics.auc,
    "auprc": metrics.auprc,
    "min_se_ppv": metrics.min_se_ppv,
    "ece": metrics.ece,
    "brier": metrics.brier,
}
HOURS = (1, 3, 6, 12, 24, 48)
_AGE_BANDS = ((0, 45), (45, 65), (65, 80), (80, 200))


def predictor(model: OnnxModel) -> Predict:
    """The exported graph as a function from features to probabilities."""

    def predict(x: Matrix) -> NDArray[np.floating]:
        return model.run(x)[0][:, 0].astype(np.float64)

    return predict


def figures(died: metrics.Labels, probability: NDArray[np.floating]) -> dict[str, float]:
    """Each of FIGURES, and how many patients and deaths they are of."""
    found = {name: round(figure(died, probability), 4) for name, figure in FIGURES.items()}
    return {**found, "n": len(died), "deaths": int(died.sum())}


def intervals(died: metrics.Labels, probability: NDArray[np.floating]) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of FIGURES, by patient (there is one stay a patient)."""
    pairs = {name: metrics.interval(figure, died, probability) for name, figure in FIGURES.items()}
    return {name: (round(low, 4), round(high, 4)) for name, (low, high) in pairs.items()}


def report(stays: Sequence[Stay], predict: Predict) -> dict[str, Any]:
    """Everything the card shows of the test set."""
    end = at_end(stays)
    probability = predict(end.x)
    return {
        "results": figures(end.died, probability),
        "intervals": intervals(end.died, probability),
        "calibration": [asdict(part) for part in metrics.calibration_curve(end.died, probability)],
        "hours": {str(hours): figures(end.died, predict(at_hours(stays, hours).x)) for hours in HOURS},
        "modalities": {name: figures(end.died, predict(masking.keep(end.x, groups))) for name, groups in masking.MODALITIES.items()},
        "newest values only": figures(end.died, predict(masking.newest_only(end.x, np.ones(len(end.x), dtype=bool)))),
        "observables missing at random": {f"{share:.0%}": _thinned(end, predict, share) for share in (0.25, 0.5, 0.75)},
        "subgroups": _subgroups(stays, end, probability),
    }


def shortcuts(train: Examples, test: Examples, stays: Sequence[Stay]) -> dict[str, dict[str, float]]:
    """What the label can be guessed from without any physiology, and the bedside score, on the test stays at 48 h."""
    there, there_train = masking.present(test.x).astype(float), masking.present(train.x).astype(float)
    weights = metrics.fit_logistic(there_train, train.died, ridge=1.0)
    age = np.nan_to_num(test.x[:, -2], nan=float(np.nanmedian(test.x[:, -2])))
    saps = np.array([stay.saps is not None for stay in stays])
    score = np.array([stay.saps or 0 for stay in stays], dtype=float)
    return {
        "age alone": _ranked(test.died, age),
        "which inputs are missing, alone": _ranked(test.died, np.column_stack([there, np.ones(len(there))]) @ weights),
        "SAPS-I (where known)": _ranked(test.died[saps], score[saps]),
    }


def _ranked(died: metrics.Labels, score: NDArray[np.floating]) -> dict[str, float]:
    found = {"auc": metrics.auc(died, score), "auprc": metrics.auprc(died, score), "min_se_ppv": metrics.min_se_ppv(died, score)}
    return {**{name: round(value, 4) for name, value in found.items()}, "n": len(died)}


def _thinned(end: Examples, predict: Predict, share: float) -> dict[str, float]:
    rng = np.random.default_rng(0)
    kept = rng.random((len(end.x), len(masking.MODALITIES["all"]))) >= share
    return figures(end.died, predict(masking.keep(end.x, kept)))


def _subgroups(stays: Sequence[Stay], end: Examples, probability: NDArray[np.floating]) -> dict[str, dict[str, float]]:
    sex, age = np.array([stay.sex for stay in stays]), end.x[:, -2]
    rows = {"female": sex == "F", "male": sex == "M"}
    rows |= {f"age {low}-{high - 1}" if high < 200 else f"age {low}+": (age >= low) & (age < high) for low, high in _AGE_BANDS}
    return {name: figures(end.died[chosen], probability[chosen]) for name, chosen in rows.items()}
