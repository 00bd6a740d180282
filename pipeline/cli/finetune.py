"""`readfirst finetune`: a site's own pairs, checked, learned from and compared with the shipped model."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.models import DEFAULT_DATA, progress_bars, require_torch
from pipeline.cli.running import folder
from pipeline.errors import StackError

if TYPE_CHECKING:
    from pipeline.models.finetuning.audit import Audit
    from pipeline.models.finetuning.pairs import Manifest

EXAMPLES = ("hannover",)
UNNAMED = "the outcome of the site's manifest"
_SIDE = 224
_MOST_LISTED = 20
_EXAMPLE = "Example: readfirst finetune --pairs pairs.csv --check     Example: readfirst finetune --example hannover --patients 20"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("finetune", epilog=_EXAMPLE)(finetune)


def finetune(
    pairs: Annotated[Path | None, typer.Option(help="the manifest, CSV or Parquet; its columns stand above")] = None,
    out: Annotated[Path, typer.Option(help="versions are written below it, each in a folder of its number")] = Path("finetuned"),
    adapt: Annotated[str, typer.Option(help="frozen, last-block or low-rank: how much of the image encoder is changed")] = "frozen",
    rank: Annotated[int, typer.Option(min=1, max=64, help="of low-rank changes")] = 4,
    seed: Annotated[int, typer.Option(help="of splits and training")] = 1,
    outcome: Annotated[
        str, typer.Option(help="what outcome 1 means, in words; shown with every risk")
    ] = "the outcome of the site's manifest",
    check: Annotated[bool, typer.Option("--check", help="says what the manifest holds, and stops")] = False,
    objects: Annotated[
        Path | None, typer.Option(help="folder of the object store, for pictures named by SOP Instance UID; the stack's without it")
    ] = None,
    example: Annotated[str | None, typer.Option(help=f"instead of --pairs, one of: {', '.join(EXAMPLES)}")] = None,
    data: Annotated[Path, typer.Option(help="the folder that holds the example's data")] = DEFAULT_DATA,
    patients: Annotated[int | None, typer.Option(min=1, help="of the example; all without it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the last line is one JSON object")] = False,
) -> None:
    r"""Fits the risk model to a site's own pairs: checks them, learns, tests by patient beside the shipped model, writes a new version.

    A row of the manifest is one study. Columns: study, patient, outcome (0 or 1); any of image (a path beside it, or a SOP Instance
    UID), observations (a JSON list of \[name or LOINC code, value, hours before the image]) and text; optional date, hospital, projection,
    scanner, age, sex. A column named as an observable (lactate, heart_rate, ...) holds its value at the time of the image.
    """
    require_torch()
    from pipeline.models.finetuning.encoder import WAYS

    if adapt not in WAYS:
        raise StackError(f"there is no way {adapt!r} to adapt the encoder", f"choose one of: {', '.join(WAYS)}")
    path, words = _manifest(pairs, example, data, out, patients, outcome)
    manifest, found = _checked(path, objects)
    _show_audit(found)
    if check:
        return _end({"manifest": str(path), "pairs": asdict(found)}, as_json)
    return _learn(manifest, found, out, adapt, rank, seed, words, as_json)


def _manifest(pairs: Path | None, example: str | None, data: Path, out: Path, patients: int | None, outcome: str) -> tuple[Path, str]:
    """The file, and what its outcome is called."""
    if (pairs is None) == (example is None):
        raise StackError("there is nothing to learn from", "give either --pairs MANIFEST or --example hannover")
    if pairs is not None:
        return pairs, outcome
    if example not in EXAMPLES:
        raise StackError(f"there is no example {example!r}", f"choose one of: {', '.join(EXAMPLES)}")
    from pipeline.models.finetuning.hannover import OUTCOME, write_manifest

    return write_manifest(data, out / f"{example}{patients or ''}.csv", patients), OUTCOME


def _checked(path: Path, objects: Path | None) -> tuple[Manifest, Audit]:
    from pipeline.models.finetuning.audit import audit
    from pipeline.models.finetuning.films import Films
    from pipeline.models.finetuning.pairs import read

    with progress_bars() as progress:
        bar = progress.add_task("checking the pairs", total=None)
        films = Films(path.parent, objects or folder(None) / "objects", _SIDE)
        manifest = read(path, films, datetime.now(UTC), lambda done, of: progress.update(bar, completed=done, total=of))
    return manifest, audit(manifest)


def _learn(manifest: Manifest, found: Audit, out: Path, adapt: Any, rank: int, seed: int, outcome: str, as_json: bool) -> None:
    from pipeline.models.finetuning.build import Site, build
    from pipeline.models.finetuning.fusion import Recipe

    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        written, metrics = build(
            manifest.pairs,
            found,
            Site(outcome, out, Recipe(adapt, rank, seed), _SIDE),
            lambda what: progress.update(bar, description=what, total=None),
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    _show_results(metrics)
    Console(stderr=True).print(f"written to {written}: the card is {written / 'CARD.md'}", highlight=False)
    _end({"folder": str(written), **metrics}, as_json)


def _show_audit(found: Audit) -> None:
    """On standard error, as progress is: standard output holds only the result."""
    console, table = Console(stderr=True), Table("of the manifest", "count", box=None)
    hidden = ("refusals", "remarks", "refused", "observables", "hospitals", "unknown_to_the_catalogue", "unused_columns")
    for name, value in asdict(found).items():
        if name not in hidden and value is not None:
            table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    for refusal in found.refusals[:_MOST_LISTED]:
        console.print(f"  [red]line {refusal.line} refused:[/red] {refusal.reason}: {refusal.explanation}", highlight=False)
    if len(found.refusals) > _MOST_LISTED:
        console.print(f"  and {len(found.refusals) - _MOST_LISTED} more; all are in --check --json", highlight=False)
    for remark in found.remarks:
        console.print(f"  {remark}", highlight=False)


def _show_results(metrics: dict[str, Any]) -> None:
    console, results = Console(stderr=True), metrics["results"]
    table = Table("input", "AUC", "95 % by patient", "fused minus it", box=None)
    for name, value in results["auc_by_input"].items():
        low, high = results["auc_by_input_95"][name]
        minus = results["fused_minus_95"].get(name)
        told = "" if minus is None else f"{minus[0]:+.3f} to {minus[1]:+.3f}"
        table.add_row(name, "too few" if value is None else f"{value:.3f}", f"{low:.3f} - {high:.3f}", told)
    console.print(metrics["split"], highlight=False)
    console.print(table)
    for sentence in metrics["sentences"]:
        console.print(f"  {sentence}", highlight=False)


def _end(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(document).decode())
