"""`readfirst train` and `readfirst evaluate`: the risk models."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.cli import imaging
from pipeline.errors import NotFound, StackError

WHAT = ("clinical", "imaging")
TASKS = ("physionet2012", "eicu", *imaging.TASKS)
Data = Annotated[Path, typer.Option(help="the folder that holds icu-physionet2012/ and icu-eicu-demo/")]
Json = Annotated[bool, typer.Option("--json", help="the last line is one JSON object")]
Model = Annotated[Path | None, typer.Option(help="a folder that `train` wrote; without it the shipped model")]
Prevalence = Annotated[float | None, typer.Option(min=0.001, max=0.999, help="of the outcome at your site, for the PPV")]
DEFAULT_DATA = Path("../shared/data")
_TRAIN_NEEDS = ("torch", "onnx", "onnxscript", "lightgbm", "onnxmltools")


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command("train", epilog="Example: readfirst train clinical --data ../shared/data --out /tmp/clinical_risk")(train)
    app.command("evaluate", epilog="Example: readfirst evaluate --task physionet2012 --data ../shared/data --json")(evaluate)


def train(
    what: Annotated[str, typer.Argument(help=f"one of: {', '.join(WHAT)}")] = "clinical",
    data: Data = DEFAULT_DATA,
    out: Annotated[Path, typer.Option(help="the folder for model, reference, metrics and card; made if missing")] = Path("clinical_risk"),
    seed: Annotated[int, typer.Option(help="other seeds give other weights of the same worth")] = 20121,
    small: Annotated[bool, typer.Option(help="a tiny configuration: the whole way in a minute, weights of no worth")] = False,
    as_json: Json = False,
) -> None:
    """Trains the clinical risk model on PhysioNet 2012 set a, tests it on set b, and writes it with its card. About ten minutes."""
    if what not in WHAT:
        raise StackError(f"there is nothing to train called {what!r}", f"choose one of: {', '.join(WHAT)}")
    require_torch()
    if what == "imaging":
        _print(_train_imaging(data, out, small), as_json)
        return
    _require_data(data)
    from pipeline.models.clinical.build import build
    from pipeline.models.clinical.recipe import SMALL, Recipe

    with progress_bars() as progress:
        bars: dict[str, TaskID] = {}

        def show(what: str, done: int | None = None, of: int | None = None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=of)
            progress.update(bars[what], completed=done or 0, total=of)

        figures = build(data, out, replace(SMALL if small else Recipe(), seed=seed), show, show)
    Console(stderr=True).print(f"written to {out}: the card is {out / 'CARD.md'}", highlight=False)
    _print(figures["results"], as_json)


def evaluate(
    task: Annotated[str, typer.Option(help=f"one of: {', '.join(TASKS)}")] = TASKS[0],
    data: Data = DEFAULT_DATA,
    model: Model = None,
    prevalence: Prevalence = None,
    out: Annotated[Path | None, typer.Option(help="a folder for the whole report: metrics.json, report.md and plots (SVG)")] = None,
    as_json: Json = False,
) -> None:
    """Runs the shipped weights on data that they have not seen, and prints the figures; with --out, writes the whole report."""
    if task not in TASKS:
        raise StackError(f"there is no task {task!r}", f"choose one of: {', '.join(TASKS)}")
    if task in imaging.TASKS:
        _print(imaging.evaluate(task, data, model), as_json)
        return
    if task == TASKS[0]:
        _require_data(data)
    from pipeline.models.clinical import tasks

    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        figures = tasks.evaluate(task, data, model, prevalence, out, lambda what: progress.update(bar, description=what))
    if out is not None:
        Console(stderr=True).print(f"written to {out}", highlight=False)
    _print({"task": task, **figures}, as_json)


def _train_imaging(data: Path, out: Path, small: bool) -> dict[str, Any]:
    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        figures = imaging.train(
            data,
            out,
            small,
            lambda what: progress.update(bar, description=what, total=None),
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    Console(stderr=True).print(f"written to {out}: the card is {out / 'chest_frontal' / 'CARD.md'}", highlight=False)
    return figures


def require_torch() -> None:
    """Raises StackError where the extra `train` is not installed."""
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


def progress_bars() -> Progress:
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
