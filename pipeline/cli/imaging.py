"""`readfirst train imaging` and `readfirst evaluate --task nih|hannover|ood`: the image heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import StackError

TASKS = ("nih", "hannover", "ood")
_TRIAL = 80


def train(data: Path, out: Path, small: bool, step: Callable[[str], None], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Writes the head into a folder of its name in `out`; its figures. `small`: some eighty films a set. Needs the extra `train`."""
    from pipeline.models.imaging.build import build

    return build(data, out, most=_TRIAL if small else None, step=step, progress=progress)


def evaluate(
    task: str, data: Path, folder: Path | None, prevalence: float | None, out: Path | None, share: Callable[[str], float | None]
) -> dict[str, Any]:
    """The figures of the shipped head that the task is for, or of the one that `train` wrote into `folder`, by its ONNX file alone.

    prevalence: for the PPV; without it, `share` of the finding at the site. out: for the whole report, of `nih`. Raises StackError for the
    others: their figures are all there is.
    """
    from pipeline.adapters.onnx.heads import HEADS, load
    from pipeline.adapters.onnx.pictures import OnnxHead
    from pipeline.models.imaging import evaluation, report

    if out is not None and task != "nih":
        raise StackError(f"there is no longer report of {task}", "leave --out away: --json gives every figure")
    head = OnnxHead(load(_tested_by(task, folder or HEADS), folder or HEADS), threads=2)
    finding = head.reference.tasks[task]
    if task == "nih":
        test, probability = evaluation.held_out(head, data)
        figures = evaluation.of_nih(test, probability, prevalence or (share(finding) if finding else None))
        if out is not None:
            report.write(out, figures, test.positive, probability)
    else:
        figures = {"hannover": evaluation.hannover, "ood": evaluation.ood}[task](head, data)
    return {"task": task, "head": head.reference.head, "version": head.reference.version, **figures}


def _tested_by(task: str, folder: Path) -> str:
    """The first head whose description names the task."""
    from pipeline.adapters.onnx.heads import load_reference, names

    found = next((name for name in names(folder) if task in load_reference(name, folder).tasks), None)
    if found is None:
        raise StackError(f"no head in {folder} is tested by {task}", "name a folder that `readfirst train imaging` wrote, with --model")
    return found
