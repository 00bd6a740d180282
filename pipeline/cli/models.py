"""`readfirst train` and `readfirst evaluate`: the risk models."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from pipeline.adapters.site.file import load
from pipeline.cli import imaging
from pipeline.cli import pairs as of_pairs
from pipeline.cli.options import unread
from pipeline.cli.running import progress_bars
from pipeline.errors import NotFound, StackError
from pipeline.settings import Settings

WHAT = ("all", "clinical", "imaging", "multimodal")
TASKS = ("physionet2012", "eicu", *imaging.TASKS)
Data = Annotated[Path, typer.Option(help="the folder of the data sets: icu-physionet2012/, icu-eicu-demo/, cxr-nih256/, cxr-hannover/")]
Json = Annotated[bool, typer.Option("--json", help="the last line is one JSON object")]
Model = Annotated[Path | None, typer.Argument(help="a folder that `train` or, with --pairs, `finetune` wrote; without it what ships")]
Pairs = Annotated[
    Path | None, typer.Option(help="instead of --task, for a version that finetune wrote: a manifest as finetune's, of other patients")
]
Prevalence = Annotated[
    float | None,
    typer.Option(min=0.001, max=0.999, help="of the outcome at your site, for the PPV; of a finding by default as the site file says"),
]
DEFAULT_DATA = Path("../shared/data")
_TRAIN_NEEDS = ("torch", "onnx", "onnxscript", "lightgbm", "onnxmltools")


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command(
        "train",
        epilog="Example: readfirst train --data ../shared/data     Example: readfirst train clinical --out clinical_risk",
    )(train)
    app.command(
        "evaluate",
        epilog="Example: readfirst evaluate --task physionet2012 --data ../shared/data --json     "
        "Example: readfirst evaluate finetuned/3 --pairs others.csv --out report",
    )(evaluate)


def train(
    what: Annotated[str, typer.Argument(help=f"one of: {', '.join(WHAT)}")] = "all",
    data: Data = DEFAULT_DATA,
    out: Annotated[
        Path,
        typer.Option(
            help="for model, metrics and card: of `clinical` and `multimodal` itself, else clinical_risk/ and the head's folder in it"
        ),
    ] = Path("trained"),
    seed: Annotated[
        int | None,
        typer.Option(min=1, help="of what is drawn: others give other weights of the same worth; without it that of what ships"),
    ] = None,
    small: Annotated[bool, typer.Option(help="a tiny configuration: the whole way in a minute or two, weights of no worth")] = False,
    as_json: Json = False,
) -> None:
    """Trains what ships and writes it with its card: the clinical risk model (PhysioNet 2012, set a; tested on set b) and the image head.

    On two CPU cores the clinical model takes 4 to 10 minutes, the image head 9 to 17; a GPU is used where torch has one, and the last
    digits differ there. `multimodal` trains the rival that does not ship, one network over events and films, on the processor, and compares
    it with the shipped models on the same rows.
    """
    if what not in WHAT:
        raise StackError(f"there is nothing to train called {what!r}", f"choose one of: {', '.join(WHAT)}")
    require_torch()
    if what != "imaging":
        _require_data(data)
    if what == "clinical":
        return _print(_train_clinical(data, out, seed, small), as_json)
    if what == "multimodal":
        return _print(_train_multimodal(data, out, seed, small), as_json)
    figures = _train_imaging(data, out, seed, small)  # before the other: it says at once where its data is missing
    if what == "all":
        figures = {"clinical": _train_clinical(data, out / "clinical_risk", seed, small), "imaging": figures}
    return _print(figures, as_json)


def _train_clinical(data: Path, out: Path, seed: int | None, small: bool) -> dict[str, Any]:
    from pipeline.models.clinical.build import build
    from pipeline.models.clinical.recipe import SMALL, Recipe

    recipe = SMALL if small else Recipe()
    with progress_bars() as progress:
        bars: dict[str, TaskID] = {}

        def show(what: str, done: int | None = None, of: int | None = None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=of)
            progress.update(bars[what], completed=done or 0, total=of)

        figures = build(data, out, recipe if seed is None else replace(recipe, seed=seed), show, show)
    Console(stderr=True).print(f"written to {out}: the card is {out / 'CARD.md'}", highlight=False)
    results: dict[str, Any] = figures["results"]
    return results


def evaluate(
    context: typer.Context,
    model: Model = None,
    task: Annotated[str, typer.Option(help=f"one of: {', '.join(TASKS)}")] = TASKS[0],
    data: Data = DEFAULT_DATA,
    pairs: Pairs = None,
    objects: Annotated[Path | None, typer.Option(help="as finetune's: for pictures named by SOP Instance UID")] = None,
    prevalence: Prevalence = None,
    out: Annotated[Path | None, typer.Option(help="a folder for the whole report: metrics.json, report.md and plots (SVG)")] = None,
    as_json: Json = False,
) -> None:
    """Runs a model, by default the shipped one, on data that it has not seen, and prints figures; with --out, writes the whole report.

    A version that finetune wrote is asked about pairs of the site (--pairs); rows of patients that it was made from are refused by line.
    """
    _refuse_unread(context, task, pairs, out)
    if pairs is not None:
        _print(of_pairs.evaluate(model, pairs, objects, prevalence, out), as_json)
        return _written(out)
    if task not in TASKS:
        raise StackError(f"there is no task {task!r}", f"choose one of: {', '.join(TASKS)}")
    if task in imaging.TASKS:
        _print(imaging.evaluate(task, data, model, prevalence, out, _site_share), as_json)
        return _written(out)
    if model is not None:
        of_pairs.refuse_tasks(model, task)
    if task == TASKS[0]:
        _require_data(data)
    from pipeline.models.clinical import tasks

    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        figures = tasks.evaluate(task, data, model, prevalence, out, lambda what: progress.update(bar, description=what))
    _print({"task": task, **figures}, as_json)
    return _written(out)


def _refuse_unread(context: typer.Context, task: str, pairs: Path | None, out: Path | None) -> None:
    """Raises BadParameter."""
    if pairs is None:
        unread(context, "without --pairs", "objects")
    else:
        unread(context, "with --pairs", "task", "data")
    if pairs is None and task == "ood":
        unread(context, "with --task ood", "prevalence")
    if out is None and (pairs is not None or task != "nih"):
        unread(context, "without --out, which writes the PPV", "prevalence")


def _written(out: Path | None) -> None:
    if out is not None:
        Console(stderr=True).print(f"written to {out}", highlight=False)


def _site_share(finding: str) -> float | None:
    """What the site file says of a finding. None: there is no site file."""
    place = Settings().site_file
    return load(place).policy.prevalence(finding) if place else None


def _train_imaging(data: Path, out: Path, seed: int | None, small: bool) -> dict[str, Any]:
    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        figures = imaging.train(
            data,
            out,
            small,
            seed,
            lambda what: progress.update(bar, description=what, total=None),
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    Console(stderr=True).print(f"written to {out}, with the head's card", highlight=False)
    return figures


def _train_multimodal(data: Path, out: Path, seed: int | None, small: bool) -> dict[str, Any]:
    from pipeline.models.multimodal.build import build
    from pipeline.models.multimodal.recipe import SMALL, Recipe

    recipe = SMALL if small else Recipe()
    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        figures = build(
            data,
            out,
            recipe if seed is None else replace(recipe, seed=seed),
            lambda what: progress.update(bar, description=what, total=None),
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    Console(stderr=True).print(f"written to {out}: the card is {out / 'CARD.md'}", highlight=False)
    return {name: figures[name] for name in ("death_cross_validation", "death_set_b", "pneumonia_held_out", "sharing")}


def require_torch() -> None:
    """Raises StackError where the extra `train` is not installed. To be asked before it is imported: it sets how OpenMP waits."""
    # Threads that wait spin by default: beside other work they take its time, and training on two busy cores took five times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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


def _print(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(figures).decode())
        return
    table = Table("figure", "value", box=None)
    for name, value in figures.items():
        table.add_row(name, " - ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    Console().print(table)
