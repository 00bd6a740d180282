"""`readfirst train` and `readfirst evaluate`: the risk models."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.errors import NotFound, StackError

Data = Annotated[Path, typer.Option(help="the folder that holds icu-physionet2012/")]
Json = Annotated[bool, typer.Option("--json", help="the last line is one JSON object")]
DEFAULT_DATA = Path("../shared/data")
TASKS = ("physionet2012",)
_TRAIN_NEEDS = ("torch", "onnx", "onnxscript")


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command("train", epilog="Example: readfirst train --data ../shared/data --out /tmp/clinical_risk")(train)
    app.command("evaluate", epilog="Example: readfirst evaluate --task physionet2012 --data ../shared/data --json")(evaluate)


def train(
    data: Data = DEFAULT_DATA,
    out: Annotated[Path, typer.Option(help="the folder for model, reference, metrics and card; made if missing")] = Path("clinical_risk"),
    seed: Annotated[int, typer.Option(help="other seeds give other weights of the same worth")] = 20121,
    as_json: Json = False,
) -> None:
    """Trains the clinical risk model on PhysioNet 2012 set a, tests it on set b, and writes it with its card. About five minutes."""
    _require_torch()
    _require_data(data)
    from pipeline.models.clinical.build import build
    from pipeline.models.clinical.training import Recipe

    with _progress() as progress:
        task = progress.add_task("starting", total=None)
        figures = build(
            data,
            out,
            Recipe(seed=seed),
            lambda what: progress.update(task, description=what, total=None),
            lambda done, of: progress.update(task, completed=done, total=of),
        )
    Console(stderr=True).print(f"written to {out}: the card is {out / 'CARD.md'}", highlight=False)
    _print(figures["results"], as_json)


def evaluate(
    task: Annotated[str, typer.Option(help=f"one of: {', '.join(TASKS)}")] = TASKS[0],
    data: Data = DEFAULT_DATA,
    model: Annotated[Path | None, typer.Option(help="a folder that `train` wrote; without it the shipped model")] = None,
    as_json: Json = False,
) -> None:
    """Runs the shipped weights on the test set that they have not seen, and prints the figures."""
    if task not in TASKS:
        raise StackError(f"there is no task {task!r}", f"choose one of: {', '.join(TASKS)}")
    _require_data(data)
    with _progress() as progress:
        bar = progress.add_task("starting", total=None)
        figures = _physionet2012(data, model, lambda what: progress.update(bar, description=what))
    _print({"task": task, **figures}, as_json)


def _physionet2012(data: Path, model: Path | None, step: Callable[[str], None]) -> dict[str, Any]:
    from pipeline.adapters.onnx.artefact import SHIPPED, load
    from pipeline.adapters.onnx.scorer import OnnxModel
    from pipeline.models.clinical import evaluation
    from pipeline.models.clinical.dataset import at_end
    from pipeline.models.clinical.physionet import stays

    shipped = OnnxModel(load(model or SHIPPED))
    step("reading set b")
    end = at_end(list(stays(data, "b")))
    step("scoring")
    probability = evaluation.predictor(shipped)(end.x)
    step("bootstrapping")
    intervals = {f"{name}_95": pair for name, pair in evaluation.intervals(end.died, probability).items()}
    return {
        **evaluation.figures(end.died, probability),
        **intervals,
        "model": shipped.reference.model,
        "version": shipped.reference.version,
        "outcome": shipped.reference.outcome,
    }


def _require_torch() -> None:
    missing = [name for name in _TRAIN_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise StackError(f"training needs {', '.join(missing)}", "uv sync --extra train (about 5 GB), or pip install 'readfirst[train]'")


def _require_data(data: Path) -> None:
    from pipeline.models.clinical.physionet import ARCHIVE, FOLDER

    if not (data / FOLDER / ARCHIVE).is_file():
        raise NotFound(
            f"{data / FOLDER / ARCHIVE} is not there. --data names the folder that holds {FOLDER}/, with {ARCHIVE} and "
            "Outcomes-a.txt and Outcomes-b.txt of the PhysioNet/CinC Challenge 2012 (physionet.org/content/challenge-2012)"
        )


def _progress() -> Progress:
    """On standard error, so that standard output holds only the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _print(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(figures).decode())
        return
    table = Table("figure", "value", box=None)
    for name, value in figures.items():
        table.add_row(name, " - ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    Console().print(table)
