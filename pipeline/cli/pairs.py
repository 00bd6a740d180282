"""A site's manifest as the commands read and show it, and `readfirst evaluate FOLDER --pairs MANIFEST`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipeline.adapters.local.stack import settings_of
from pipeline.cli.running import folder, progress_bars
from pipeline.errors import StackError

if TYPE_CHECKING:
    from pipeline.models.finetuning.audit import Audit
    from pipeline.models.finetuning.pairs import Manifest, PseudonymOf

SIDE = 224
_MOST_LISTED = 20
_REPORTED = ("calibration", "working_points", "decision_curve", "subgroups", "by_input", "pairs")
"""Not among the figures of the last line: they are in the report."""


def read(path: Path, objects: Path | None) -> Manifest:
    """Row by row. objects: folder of the object store; the stack's without it."""
    from pipeline.models.finetuning import pairs
    from pipeline.models.finetuning.films import Films

    with progress_bars() as progress:
        bar = progress.add_task("checking the pairs", total=None)
        films = Films(path.parent, objects or folder(None) / "objects", SIDE)
        return pairs.read(path, films, datetime.now(UTC), lambda done, of: progress.update(bar, completed=done, total=of), pseudonym_of())


def pseudonym_of() -> PseudonymOf | None:
    """Of a record number of this site's own authority; None where the site's key is not here."""
    from pipeline.settings import site_key
    from schemas.identifiers import patient_key

    settings = settings_of(folder(None))
    if settings.site_key is None:
        return None
    return partial(patient_key, site_key(settings), settings.gateways.assigning_authority)


def show(found: Audit) -> None:
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
        console.print(f"  and {len(found.refusals) - _MOST_LISTED} more; finetune --check --json lists all that the file alone shows")
    for remark in found.remarks:
        console.print(f"  {remark}", highlight=False)


def evaluate(model: Path | None, path: Path, objects: Path | None, prevalence: float | None, out: Path | None) -> dict[str, Any]:
    """The figures of a version that `finetune` wrote, on pairs that it was not made from. Raises StackError, NotFound."""
    from pipeline.models.finetuning.audit import audit, require_enough
    from pipeline.models.finetuning.validation import validate, write
    from pipeline.models.finetuning.version import load, others

    if model is None:
        raise StackError("what is to be tested on the pairs?", "name the folder that finetune wrote: readfirst evaluate FOLDER --pairs ...")
    version = load(model)
    manifest = others(read(path, objects), version)
    found = audit(manifest, testing=True)
    show(found)
    learned = found.refused.get("learned-from", 0)
    if learned and not manifest.pairs:
        raise StackError(
            f"all {learned} usable rows are of patients that the version was made from", "bring pairs of patients that it has not seen"
        )
    require_enough(found)
    with progress_bars() as progress:
        progress.add_task("asking the version", total=None)
        validated = validate(version, manifest.pairs, found, prevalence)
    if out is not None:
        write(out, validated)
    for sentence in validated.figures["sentences"]:
        Console(stderr=True).print(f"  {sentence}", highlight=False)
    told = {name: value for name, value in validated.figures.items() if name not in _REPORTED}
    return {"task": "pairs", **told, "refused": found.refused, "by_input_auc": _auc(validated.figures["by_input"])}


def refuse_tasks(model: Path, task: str) -> None:
    """Raises StackError for a version of which the open data sets know nothing."""
    from pipeline.models.finetuning.version import is_fine_tuned

    if is_fine_tuned(model):
        raise StackError(
            f"{model} is a version that finetune wrote: it answers what the site's manifest asked, and {task} has other labels",
            f"test it on pairs of other patients: readfirst evaluate {model} --pairs MANIFEST",
        )


def _auc(by_input: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    return {name: one["auc"] for name, one in by_input.items()}
