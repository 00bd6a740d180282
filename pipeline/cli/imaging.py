"""`readfirst train imaging` and `readfirst evaluate --task nih|hannover|ood`: the image heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import StackError

if TYPE_CHECKING:
    from pipeline.adapters.onnx.pictures import OnnxHead

TASKS = ("nih", "hannover", "ood")
_TRIAL = 120


def train(
    data: Path, out: Path, small: bool, seed: int | None, step: Callable[[str], None], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Writes the head into a folder of its name in `out`; its figures. `small`: some 120 films a set. seed: None for that of what ships.

    Needs the extra `train`.
    """
    from pipeline.models.imaging.build import build
    from pipeline.models.imaging.recipe import SEED

    return build(data, out, most=_TRIAL if small else None, seed=SEED if seed is None else seed, step=step, progress=progress)


def evaluate(
    task: str, data: Path, folder: Path | None, prevalence: float | None, out: Path | None, share: Callable[[str], float | None]
) -> dict[str, Any]:
    """The figures of the shipped head that the task is for, or of the one that `train` wrote into `folder`, by its ONNX file alone.

    prevalence: for the PPV; without it, `share` of the finding at the site. out: for the whole report. Raises StackError, NotFound.
    """
    from pipeline.adapters.onnx.heads import HEADS, load
    from pipeline.adapters.onnx.pictures import OnnxHead

    name = _tested_by(task, folder or HEADS)
    head = OnnxHead(load(name, folder or HEADS), threads=2)
    finding = head.reference.tasks[task]
    at = prevalence or (share(finding) if finding else None)
    figures = {"nih": _nih, "hannover": _hannover, "ood": _ood}[task](head, data, at, out, (folder or HEADS) / name)
    return {"task": task, "head": name, "version": head.reference.version, **figures}


def _nih(head: OnnxHead, data: Path, prevalence: float | None, out: Path | None, folder: Path) -> dict[str, Any]:
    from pipeline.models.imaging import evaluation, report

    asked = evaluation.held_out(head, data)
    figures = {**evaluation.of_nih(asked, prevalence), "held_out_uses": len(evaluation.held_out_uses(folder))}
    if out is not None:
        report.nih(out, figures, asked)
    return figures


def _hannover(head: OnnxHead, data: Path, prevalence: float | None, out: Path | None, folder: Path) -> dict[str, Any]:
    from pipeline.models.imaging import evaluation, report

    asked = evaluation.hannover(head, data)
    figures = evaluation.of_hannover(asked)
    if out is not None:
        report.hannover(out, figures, asked, prevalence)
    return figures


def _ood(head: OnnxHead, data: Path, prevalence: float | None, out: Path | None, folder: Path) -> dict[str, Any]:
    from pipeline.models.imaging import evaluation, report

    seen = evaluation.looked(head, data)
    figures = evaluation.ood(head, data, seen)
    if out is not None:
        report.ood(out, figures, seen)
    return figures


def _tested_by(task: str, folder: Path) -> str:
    """The first head whose description names the task."""
    from pipeline.adapters.onnx.heads import load_reference, names

    found = next((name for name in names(folder) if task in load_reference(name, folder).tasks), None)
    if found is None:
        raise StackError(f"no head in {folder} is tested by {task}", "name a folder that `readfirst train imaging` wrote: evaluate FOLDER")
    return found
