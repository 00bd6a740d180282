"""`readfirst train imaging` and `readfirst evaluate --task nih|hannover|ood`: the image head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS = ("nih", "hannover", "ood")
_TRIAL = 80


def train(data: Path, out: Path, small: bool, step: Callable[[str], None], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Writes the head into `out`/chest_frontal and returns its figures. `small`: a tenth of the films. Needs the extra `train`."""
    from pipeline.models.imaging.build import build

    return build(data, out, most=_TRIAL if small else None, step=step, progress=progress)


def evaluate(task: str, data: Path, folder: Path | None) -> dict[str, Any]:
    """The figures of the shipped head, or of the one that `train` wrote into `folder`, by its ONNX file alone."""
    from pipeline.adapters.onnx.heads import HEADS, load
    from pipeline.adapters.onnx.pictures import OnnxHead
    from pipeline.models.imaging import evaluation

    head = OnnxHead(load("chest_frontal", folder or HEADS), threads=2)
    figures = {"nih": evaluation.nih, "hannover": evaluation.hannover, "ood": evaluation.ood}[task](head, data)
    return {"task": task, "head": head.reference.head, "version": head.reference.version, **figures}
