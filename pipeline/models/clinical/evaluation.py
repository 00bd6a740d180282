"""The figures of a clinical model on stays; needs onnxruntime only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.models.clinical import masking
from pipeline.models.clinical.dataset import Examples, Matrix, at_end, at_hours
from pipeline.models.clinical.eicu import AS_OF_H, HospitalStay
from pipeline.models.clinical.physionet import Stay
from pipeline.models.evaluation.calibration import calibration, fit_logistic, slope_and_intercept
from pipeline.models.evaluation.decision_curve import decision_curve
from pipeline.models.evaluation.discrimination import Labels, auc, auprc, min_se_ppv, working_points
from pipeline.models.evaluation.summary import age_bands, figures, intervals, subgroups, thirds

Predict = Callable[[Matrix], NDArray[np.floating]]
"""Features [n, names] to probabilities [n]."""

HOURS = (1, 3, 6, 12, 24, 48)


def predictor(model: OnnxModel) -> Predict:
    """The exported graph as a function from features to probabilities."""

    def predict(x: Matrix) -> NDArray[np.floating]:
        return model.run(x).risk[:, 0].astype(np.float64)

    return predict


def report(stays: Sequence[Stay], model: OnnxModel, prevalence: float | None = None, at: float | None = None) -> dict[str, Any]:
    """Everything the card shows of the test set.

    `prevalence`: at which the working points' PPV is told, by default the test set's. `at`: hours after admission, by default 48.
    """
    predict, end = predictor(model), at_end(stays) if at is None else at_hours(stays, at)
    answer = model.run(end.x)
    probability = answer.risk[:, 0].astype(np.float64)
    slope, intercept = slope_and_intercept(end.died, probability)
    return {
        "results": figures(end.died, probability),
        "intervals": intervals(end.died, probability),
        "calibration": [asdict(part) for part in calibration(end.died, probability)],
        "calibration_slope": round(slope, 3),
        "calibration_intercept": round(intercept, 3),
        "working_points": [asdict(point) for point in working_points(end.died, probability, prevalence=prevalence)],
        "decision_curve": [asdict(point) for point in decision_curve(end.died, probability)],
        "hours": {str(hours): figures(end.died, predict(at_hours(stays, hours).x)) for hours in HOURS if at is None or hours <= at},
        "modalities": {name: figures(end.died, predict(masking.keep(end.x, groups))) for name, groups in masking.MODALITIES.items()},
        "newest values only": figures(end.died, predict(masking.newest_only(end.x, np.ones(len(end.x), dtype=bool)))),
        "observables missing at random": {f"{share:.0%}": _thinned(end, predict, share) for share in (0.25, 0.5, 0.75)},
        "subgroups": subgroups(end.died, probability, members(stays)),
        "by spread": subgroups(end.died, probability, thirds(answer.spread[:, 0])),
        "beyond training's range": round(float((answer.novelty[:, 0] > 0).mean()), 4),
    }


def members(stays: Sequence[Stay]) -> dict[str, Labels]:
    """The subgroups of the card: sex, age band, kind of unit."""
    sex, unit = np.array([stay.sex for stay in stays]), np.array([stay.unit for stay in stays])
    age = np.array([np.nan if stay.age is None else stay.age for stay in stays])
    rows: dict[str, Labels] = {"female": sex == "F", "male": sex == "M"}
    rows |= age_bands(age)
    return rows | {f"unit: {kind}": unit == kind for kind in sorted(set(unit.tolist())) if kind}


def external(stays: Sequence[HospitalStay], predict: Predict) -> dict[str, Any]:
    """On another database, at 24 h; intervals by hospital."""
    patients = [row.stay for row in stays]
    hospital = np.array([row.hospital for row in stays])
    examples = at_hours(patients, AS_OF_H)
    probability = predict(examples.x)
    slope, intercept = slope_and_intercept(examples.died, probability)
    return {
        "results": figures(examples.died, probability),
        "intervals": intervals(examples.died, probability, hospital),
        "hospitals": len(set(hospital.tolist())),
        "calibration": [asdict(part) for part in calibration(examples.died, probability)],
        "calibration_slope": round(slope, 3),
        "calibration_intercept": round(intercept, 3),
        "subgroups": subgroups(examples.died, probability, members(patients)),
    }


def shortcuts(train: Examples, test: Examples, stays: Sequence[Stay]) -> dict[str, dict[str, float]]:
    """What the label can be guessed from without any physiology, and the bedside score, on the test stays at 48 h."""
    there, there_train = masking.present(test.x).astype(float), masking.present(train.x).astype(float)
    weights = fit_logistic(there_train, train.died, ridge=1.0)
    age = np.nan_to_num(test.x[:, -2], nan=float(np.nanmedian(test.x[:, -2])))
    saps = np.array([stay.saps is not None for stay in stays])
    score = np.array([stay.saps or 0 for stay in stays], dtype=float)
    return {
        "age alone": ranked(test.died, age),
        "which inputs are missing, alone": ranked(test.died, np.column_stack([there, np.ones(len(there))]) @ weights),
        "SAPS-I (where known)": ranked(test.died[saps], score[saps]),
    }


def ranked(died: Labels, score: NDArray[np.floating]) -> dict[str, float]:
    """The figures of a score that is no probability."""
    found = {"auc": auc(died, score), "auprc": auprc(died, score), "min_se_ppv": min_se_ppv(died, score)}
    return {**{name: round(value, 4) for name, value in found.items()}, "n": len(died)}


def _thinned(end: Examples, predict: Predict, share: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    kept = rng.random((len(end.x), len(masking.MODALITIES["all"]))) >= share
    return figures(end.died, predict(masking.keep(end.x, kept)))
