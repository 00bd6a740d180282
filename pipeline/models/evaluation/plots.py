"""Calibration, ROC and decision curves as SVG files, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.models.evaluation.calibration import CalibrationBin
from pipeline.models.evaluation.decision_curve import NetBenefit
from pipeline.models.evaluation.discrimination import Scores

_STYLE = {"svg.hashsalt": "readfirst", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_METADATA = {"Date": None, "Creator": "readfirst"}


def plot_calibration(target: Path, bins: Sequence[CalibrationBin]) -> None:
    """Predicted against observed, one point a tenth of the patients."""
    highest = max(max(bin.predicted, bin.observed) for bin in bins)

    def draw(axes: Any) -> None:
        axes.plot([0, highest], [0, highest], color="0.7", linewidth=1)
        axes.plot([bin.predicted for bin in bins], [bin.observed for bin in bins], marker="o", color="#1f5fa8")
        axes.set(xlabel="predicted probability", ylabel="observed share")

    _save(target, draw)


def plot_roc(target: Path, curves: Mapping[str, tuple[Scores, Scores]]) -> None:
    """`curves`: name -> (false positive rate, sensitivity)."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, (false, true) in curves.items():
            axes.plot(false, true, label=name, linewidth=1.2)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")
        axes.legend(frameon=False)

    _save(target, draw)


def plot_decision_curve(target: Path, points: Sequence[NetBenefit]) -> None:
    """Net benefit of the model, of acting on everybody and on nobody."""

    def draw(axes: Any) -> None:
        at = [point.threshold for point in points]
        axes.axhline(0, color="0.7", linewidth=1, label="nobody")
        axes.plot(at, [point.all for point in points], color="#b0562a", linestyle="--", label="everybody")
        axes.plot(at, [point.model for point in points], color="#1f5fa8", marker="o", label="model")
        axes.set(xlabel="threshold probability", ylabel="net benefit per patient")
        axes.set_ylim(bottom=min(-0.02, min(point.model for point in points)))
        axes.legend(frameon=False)

    _save(target, draw)


def _save(target: Path, draw: Any) -> None:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        figure.savefig(target, format="svg", metadata=_METADATA)
