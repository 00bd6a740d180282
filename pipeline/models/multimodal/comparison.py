"""The network beside what ships, on the same rows: in every training set by cross-validation, then once on the rows held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.clinical.dataset import Matrix as Features
from pipeline.models.clinical.evaluation import ranked
from pipeline.models.evaluation.bootstrap import bootstrap_difference, bootstrap_interval, rounded
from pipeline.models.evaluation.calibration import ece
from pipeline.models.evaluation.discrimination import auc
from pipeline.models.imaging import evaluation, films, readout
from pipeline.models.imaging.films import Films
from pipeline.models.multimodal import calibration
from pipeline.models.multimodal.members import Answers, Asked, Matrix, counted
from pipeline.models.multimodal.rows import DEATH, INTENSIVE_CARE, OUTPUTS, Mask, Rows, subsets
from pipeline.models.multimodal.shipped import Parts, unseen

SHIPPED, ALONE = "ensemble (shipped), plain mean", "attention over a set of events"
_SAMPLES = 500
_RIDGE_PERSON = 3.0
_MOST_UNKNOWN = 0.5


def death(parts: Parts, x: Features, died: Mask, ours: Matrix, fold: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Rankings at 48 h by plain means of logits, each beside the shipped ensemble's. fold: of training rows, told by what left it out."""
    network, trees = (told.mean(1) if fold is None else unseen(told, fold) for told in parts.logits(x))
    joined = (network + trees) / 2
    readers = {
        ALONE: ours,
        "set network alone": network,
        "boosted trees alone": trees,
        SHIPPED: joined,
        "event set instead of the set network": (ours + trees) / 2,
        "event set as a third part": (ours + network + trees) / 3,
    }
    return {name: {**ranked(died, told), "minus_shipped_95": _minus(died, told, joined, None)} for name, told in readers.items()}


def pneumonia(
    train: Films, features: Matrix, ours: Mapping[str, Matrix], test: Films | None = None, unseen_features: Matrix | None = None
) -> dict[str, Any]:
    """On the training patients by cross-validation or, with `test`, on those held out."""
    fold = films.folds(train.patient, "nih")
    parts = {"image": (features, evaluation.RIDGE_IMAGE), "demographics": (_person(train, "Patient Age", "Patient Gender"), _RIDGE_PERSON)}
    if test is None or unseen_features is None:
        shown, shipped = train, readout.crossed(features, train.positive, fold, evaluation.RIDGE_IMAGE)
        both = evaluation.late_fusion(list(parts.values()), train.positive, fold)
        told = {"read-out (shipped)": shipped, "late fusion of image + demographics": both}
    else:
        shown, shipped = test, readout.fit(features, train.positive, evaluation.RIDGE_IMAGE)(unseen_features)
        told = {"read-out (shipped)": shipped}
    told |= {f"{ALONE}: {name}": logits for name, logits in ours.items()}
    return {
        name: {"auc": round(auc(shown.positive, one), 4), "minus_shipped_95": _minus(shown.positive, one, shipped, shown.patient)}
        for name, one in told.items()
    }


def by_subset(
    train: Rows, test: Rows, answers: Answers, parts: Parts, x: Mapping[str, Features], whole: Films, features: Matrix
) -> dict[str, Any]:
    """Each output from every choice of its inputs, calibrated by folds; beside it what ships or the late fusion of the same inputs."""
    found: dict[str, Any] = {}
    late = _late(whole, features)
    for output, name in enumerate(OUTPUTS):
        rows = counted(train, output)
        label, fold, patient = calibration.positive(train, output), train.fold[rows], _groups(train, output)
        found[name] = {}
        for chosen in subsets(output):
            logits = calibration.crossed(answers.shared[output, chosen], label, fold)
            one: dict[str, Any] = {
                **_calibrated(label, logits),
                "auc_95": rounded(bootstrap_interval(auc, label, logits, patient, _SAMPLES)),
            }
            rival = _rival(output, chosen, parts, x, fold, late)
            if rival is not None:
                told = calibration.crossed(rival, label, fold) if output == DEATH else rival
                one |= {"rival": _calibrated(label, told), "minus_rival_95": _minus(label, logits, told, patient)}
            if len(counted(test, output)):
                one["held_out"] = _held_out(train, test, answers, (output, chosen))
            found[name][chosen] = one
    return found


def sharing(train: Rows, answers: Answers) -> dict[str, Any]:
    """What learning all outputs in one network does for each, against networks of the same seeds that learned it alone."""
    found = {}
    for output, name in enumerate(OUTPUTS):
        label, patient = calibration.positive(train, output), _groups(train, output)
        together, alone = answers.shared_once[output], answers.alone[output]
        found[name] = {
            "shared": round(auc(label, together), 4),
            "alone": round(auc(label, alone), 4),
            "shared_minus_alone_95": _minus(label, together, alone, patient),
        }
    return found


def _groups(rows: Rows, output: int) -> NDArray[np.str_] | None:
    """What is drawn as a whole: a film's patient; of stays each is a patient's only one."""
    return None if output == DEATH else rows.patient[counted(rows, output)]


def _held_out(train: Rows, test: Rows, answers: Answers, asked: Asked) -> dict[str, Any]:
    slope, intercept = readout.platt(answers.shared[asked], calibration.positive(train, asked[0]))
    return _calibrated(calibration.positive(test, asked[0]), slope * answers.test[asked] + intercept)


def _late(whole: Films, features: Matrix) -> dict[str, Matrix]:
    """Hannover, out of fold, already calibrated."""
    parts = {**evaluation.inputs(whole, features), "demographics": (_person(whole, "age", "sex"), _RIDGE_PERSON)}
    fold = films.folds(whole.patient, "hannover")
    return {
        name: evaluation.late_fusion([parts[one] for one in chosen], whole.positive, fold)
        for name, chosen in subsets(INTENSIVE_CARE).items()
    }


def _rival(
    output: int, chosen: str, parts: Parts, x: Mapping[str, Features], fold: NDArray[np.int64], late: Mapping[str, Matrix]
) -> Matrix | None:
    if output == INTENSIVE_CARE:
        return late[chosen]
    if output == DEATH:
        network, trees = parts.logits(x[chosen])
        both: Matrix = (unseen(network, fold) + unseen(trees, fold)) / 2
        return both
    return None


def _person(whole: Films, age: str, sex: str) -> Matrix:
    """[n, 2]: years and 1 for female, NaN where not known; a column known of few is left out."""
    codes = {"F": 1.0, "M": 0.0}
    both = np.array([[float(row[age]) if row[age] else np.nan, codes.get(row[sex].upper(), np.nan)] for row in whole.rows])
    told: Matrix = both[:, np.isnan(both).mean(0) < _MOST_UNKNOWN]
    return told


def _calibrated(label: Mask, logits: Matrix) -> dict[str, Any]:
    return {"auc": round(auc(label, logits), 4), "ece": round(ece(label, 1 / (1 + np.exp(-logits))), 4)}


def _minus(label: Mask, logits: Matrix, other: Matrix, patient: NDArray[np.str_] | None) -> tuple[float, float]:
    return rounded(bootstrap_difference(auc, label, logits, other, patient, _SAMPLES))
