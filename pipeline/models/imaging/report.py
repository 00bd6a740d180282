"""What `readfirst evaluate --task nih --out` writes: figures, tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.artefacts import pretty
from pipeline.models.evaluation import plots
from pipeline.models.evaluation.calibration import calibration
from pipeline.models.evaluation.decision_curve import decision_curve
from pipeline.models.evaluation.discrimination import roc
from pipeline.models.evaluation.summary import FIGURES

Row = Mapping[str, Any]


def write(out: Path, found: Row, positive: NDArray[np.bool_], probability: NDArray[np.float64]) -> None:
    """metrics.json, report.md and three plots (SVG). found: as `evaluation.of_nih` gives it."""
    bins, benefit = calibration(positive, probability), decision_curve(positive, probability)
    whole = {**found, "calibration": [asdict(one) for one in bins], "decision_curve": [asdict(one) for one in benefit]}
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_bytes(pretty(whole))
    (out / "report.md").write_text("\n".join(_tables(whole)) + "\n")
    plots.plot_calibration(out / "calibration.svg", bins)
    plots.plot_roc(out / "roc.svg", {"image head": roc(positive, probability)})
    plots.plot_decision_curve(out / "decision.svg", benefit)


def _tables(found: Row) -> Iterable[str]:
    yield f"## Result\n\n{found['n']} films of {found['patients']} patients, {found['positives']} with the finding.\n"
    yield from _table(
        [{"figure": name, "value": found[name], "95 % by patient": "{} to {}".format(*found[f"{name}_95"])} for name in FIGURES]
    )
    yield "\n## Subgroups\n"
    yield from _table(
        [{"subgroup": name, **{each: one[each] for each in ("n", "positives", *FIGURES)}} for name, one in found["subgroups"].items()]
    )
    for title, name in (("Working points", "working_points"), ("Calibration", "calibration"), ("Net benefit", "decision_curve")):
        yield f"\n## {title}\n"
        yield from _table(found[name])


def _table(rows: list[Row]) -> Iterable[str]:
    yield f"| {' | '.join(rows[0])} |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows:
        yield f"| {' | '.join(f'{value:.4g}' if isinstance(value, float) else str(value) for value in row.values())} |"
