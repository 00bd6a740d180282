"""A clinical candidate beside the served model, on the test set that neither was made on."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.models.clinical import evaluation
from pipeline.models.clinical.dataset import at_end
from pipeline.models.clinical.physionet import ARCHIVE, FOLDER, stays
from pipeline.models.promotion import Compared, compare


def compare_on(data: Path, served: Path, candidate: Path) -> list[Compared]:
    """PhysioNet 2012 set b, at 48 h, and the card's subgroups. Raises FileNotFoundError where it is not, StackError for a damaged model."""
    if not (data / FOLDER / ARCHIVE).is_file():
        raise FileNotFoundError(f"{data / FOLDER / ARCHIVE} is not there")
    before, after = (OnnxModel(artefact.load(each)) for each in (served, candidate))
    patients = list(stays(data, "b"))
    end = at_end(patients)
    served_risk, candidate_risk = (evaluation.predictor(model)(end.x) for model in (before, after))
    return compare(end.died, served_risk, candidate_risk, evaluation.members(patients))


def another_question(served: Path, candidate: Path) -> list[str]:
    """What speaks against a candidate that was made for another outcome. Raises StackError for a damaged model."""
    before, after = (artefact.load_reference(each).outcome for each in (served, candidate))
    if before == after:
        return []
    return [f"it answers another question ({after}, not {before}): limits on the risk were set for the other"]
