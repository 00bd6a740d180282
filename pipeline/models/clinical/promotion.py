"""A clinical candidate beside the served model, on the test set that neither was made on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.models.clinical.dataset import at_end
from pipeline.models.clinical.physionet import ARCHIVE, FOLDER, stays
from pipeline.models.promotion import Compared, compare

_AGE_BANDS = ((0, 45), (45, 65), (65, 80), (80, 200))


def compare_on(data: Path, served: Path, candidate: Path) -> list[Compared]:
    """PhysioNet 2012 set b, at 48 h; by sex and age band too. Raises FileNotFoundError where it is not, StackError for a damaged model."""
    if not (data / FOLDER / ARCHIVE).is_file():
        raise FileNotFoundError(f"{data / FOLDER / ARCHIVE} is not there")
    before, after = (OnnxModel(artefact.load(each)) for each in (served, candidate))
    patients = list(stays(data, "b"))
    end = at_end(patients)
    sex, age = np.array([stay.sex for stay in patients]), end.x[:, -2]
    members = {"women": sex == "F", "men": sex == "M"}
    members |= {f"age {low}-{high - 1}" if high < 200 else f"age {low}+": (age >= low) & (age < high) for low, high in _AGE_BANDS}
    served_risk, candidate_risk = (model.run(end.x)[0][:, 0].astype(np.float64) for model in (before, after))
    return compare(end.died, served_risk, candidate_risk, members)
