"""What the figures prove and what they don't, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.models.finetuning.audit import SMALL

FUSED = "fused"
SHIPPED = ("shipped clinical model", "shipped image head")
_PARTS = ("image alone", "values alone", "clinical alone", "text alone")
_SHORTCUTS = ("projection alone", "missingness alone", "scanner alone", "hospital alone")


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """In the order of their weight. `metrics`: what `evaluation.report` gives."""
    return [*size(metrics, metrics["auc_by_input_95"][FUSED]), *_fusion(metrics), *_shipped(metrics), *_shortcut(metrics)]


def size(metrics: Mapping[str, Any], interval: tuple[float, float]) -> list[str]:
    """What so few patients prove; nothing of many. interval: of the AUC."""
    low, high = interval
    if metrics["patients"] >= SMALL:
        return []
    words = (
        f"{metrics['patients']} patients, {metrics['patients_with_outcome']} of them with the outcome, prove little: "
        f"the AUC may as well be {low:.2f} as {high:.2f}"
    )
    blind = ", and no better than chance" if low <= 0.5 else ""
    return [f"{words}{blind}. The interval counts the chance of who was sampled, not that of another hospital or another year."]


def _fusion(metrics: Mapping[str, Any]) -> list[str]:
    figures = metrics["auc_by_input"]
    parts = {name: figures[name] for name in _PARTS if figures.get(name) is not None}
    if len(parts) < 2:
        return []
    best = max(parts, key=lambda name: parts[name])
    low, high = metrics["fused_minus_95"][best]
    patients = metrics["patients"]
    gain = f"Fusion shows a gain over {best}" if low > 0 else f"Fusion shows no gain over {best} at {patients} patients"
    return [f"{gain}: {figures[FUSED]:.3f} against {parts[best]:.3f}, difference {low:+.3f} to {high:+.3f}."]


def _shipped(metrics: Mapping[str, Any]) -> list[str]:
    figures = metrics["auc_by_input"]
    found = []
    for name in SHIPPED:
        if figures.get(name) is not None:
            found.append(beside(name, figures[name], metrics["fused_minus_95"][name]))
    return found


def beside(name: str, auc: float, minus: tuple[float, float]) -> str:
    """Of a rival on the same rows. minus: the model's AUC less this one's, 95 %."""
    low, high = minus
    told = "better than" if low > 0 else "worse than" if high < 0 else "not shown to differ from"
    return f"On the same patients it is {told} the {name} ({auc:.3f}; difference {low:+.3f} to {high:+.3f})."


def _shortcut(metrics: Mapping[str, Any]) -> list[str]:
    figures = metrics["auc_by_input"]
    known = {name: figures[name] for name in _SHORTCUTS if figures.get(name) is not None}
    if not known:
        return []
    best = max(known, key=lambda name: known[name])
    low, _ = metrics["fused_minus_95"][best]
    told = f"The strongest shortcut, {best}, reaches {known[best]:.3f} without looking at the patient"
    return [told + (f": the model goes beyond it by at least {low:.3f}." if low > 0 else ", and the model is not shown to go beyond it.")]
