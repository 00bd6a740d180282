"""What `readfirst evaluate` runs: a data set that the shipped weights have not seen, its figures and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx.artefact import SHIPPED, load
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.models.artefacts import pretty
from pipeline.models.clinical import card, eicu, evaluation
from pipeline.models.clinical.dataset import Examples, at_end, at_hours
from pipeline.models.clinical.physionet import Stay, stays
from pipeline.models.evaluation import plots
from pipeline.models.evaluation.calibration import calibration
from pipeline.models.evaluation.decision_curve import decision_curve
from pipeline.models.evaluation.discrimination import roc
from pipeline.models.evaluation.summary import figures, intervals

Step = Callable[[str], None]


def evaluate(
    task: str, data: Path, model: Path | None, prevalence: float | None, out: Path | None, step: Step = lambda what: None
) -> dict[str, Any]:
    """Figures with their intervals. `out`: where the whole report goes, None for none. Raises NotFound without the data."""
    asked = OnnxModel(load(model or SHIPPED))
    step("reading")
    tested, groups, hours = _read(task, data)
    examples = at_end(tested) if hours is None else at_hours(tested, hours)
    step("scoring")
    probability = evaluation.predictor(asked)(examples.x)
    step("bootstrapping")
    between = {f"{name}_95": pair for name, pair in intervals(examples.died, probability, groups).items()}
    found = {**figures(examples.died, probability), **between, "model": asked.reference.model, "version": asked.reference.version}
    if out is not None:
        step("writing the report")
        _write(out, examples, probability, evaluation.report(tested, asked, prevalence, hours))
    return {**found, "outcome": asked.reference.outcome}


def _read(task: str, data: Path) -> tuple[list[Stay], NDArray[np.generic] | None, float | None]:
    """Stays, what is resampled as a whole (None: the stay), and the hour at which they are asked about (None: the end)."""
    if task == "physionet2012":
        return list(stays(data, "b")), None, None
    rows = eicu.stays(data)
    return [row.stay for row in rows], np.array([row.hospital for row in rows]), eicu.AS_OF_H


def _write(out: Path, examples: Examples, probability: NDArray[np.floating], report: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_bytes(pretty(report))
    (out / "report.md").write_text(card.tables(report))
    plots.plot_calibration(out / "calibration.svg", calibration(examples.died, probability))
    plots.plot_roc(out / "roc.svg", {"model": roc(examples.died, probability)})
    plots.plot_decision_curve(out / "decision.svg", decision_curve(examples.died, probability))
