"""`readfirst finetune`: a site's own pairs, checked, learned from and compared with the shipped model."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.models import DEFAULT_DATA, require_torch
from pipeline.cli.options import unread
from pipeline.cli.pairs import SIDE, pseudonym_of, read, show
from pipeline.cli.running import folder, progress_bars, running_settings
from pipeline.errors import StackError

if TYPE_CHECKING:
    from pipeline.models.finetuning.alignment import Aligned
    from pipeline.models.finetuning.audit import Audit
    from pipeline.models.finetuning.build import Site
    from pipeline.models.finetuning.pairs import Manifest

EXAMPLES = ("hannover",)
ALIGNED_EXAMPLE = "nih"
UNNAMED = "the outcome of the site's manifest"
_EXAMPLE = "Example: readfirst finetune --pairs pairs.csv --check     Example: readfirst finetune --example hannover --patients 20"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("finetune", epilog=_EXAMPLE)(finetune)


def finetune(
    context: typer.Context,
    pairs: Annotated[Path | None, typer.Option(help="the manifest, CSV or Parquet; its columns stand above")] = None,
    out: Annotated[Path, typer.Option(help="versions are written below it, each in a folder of its number")] = Path("finetuned"),
    adapt: Annotated[str, typer.Option(help="frozen, last-block or low-rank: how much of the image encoder is changed")] = "frozen",
    rank: Annotated[int, typer.Option(min=1, max=64, help="of low-rank changes")] = 4,
    seed: Annotated[int, typer.Option(help="of splits and training")] = 1,
    outcome: Annotated[str, typer.Option(help="what outcome 1 means, in words; shown with every risk")] = UNNAMED,
    check: Annotated[bool, typer.Option("--check", help="says what the manifest holds, and stops")] = False,
    objects: Annotated[
        Path | None, typer.Option(help="folder of the object store, for pictures named by SOP Instance UID; the stack's without it")
    ] = None,
    feedback: Annotated[str | None, typer.Option(help="instead of --pairs, a finding (pneumonia): readers' words on it")] = None,
    finding: Annotated[
        str | None,
        typer.Option(
            help="the outcome is this finding of the chest head (as with --feedback): its new version is written too, for promote"
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            help="before: a manifest of films and reports of other patients without labels (study, patient, image, text; a film and its "
            f"report may be rows of their own), or {ALIGNED_EXAMPLE}: sentences made from its labels"
        ),
    ] = None,
    example: Annotated[str | None, typer.Option(help=f"instead of --pairs, one of: {', '.join(EXAMPLES)}")] = None,
    data: Annotated[Path, typer.Option(help="the folder that holds the example's data")] = DEFAULT_DATA,
    patients: Annotated[int | None, typer.Option(min=1, help="of the example; all without it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the last line is one JSON object")] = False,
) -> None:
    r"""Fits the risk model to a site's own pairs: checks them, learns, tests by patient beside the shipped model, writes a new version.

    A row of the manifest is one study. Columns: study, patient, outcome (0 or 1); any of image (a path beside it, or a SOP Instance
    UID), observations (a JSON list of \[name or LOINC code, value, hours before the image]) and text (the words of the order and
    of the study's description, as live; never the report's); optional date, hospital, projection, scanner, age, sex. A column named as an
    observable (lactate, heart_rate, ...) holds its value at the time of the image.
    """
    require_torch()
    _refuse_unread(context, adapt, feedback, example, align)
    from pipeline.models.finetuning.audit import audit
    from pipeline.models.finetuning.build import Site
    from pipeline.models.finetuning.encoder import WAYS
    from pipeline.models.finetuning.fusion import Recipe

    if adapt not in WAYS:
        raise StackError(f"there is no way {adapt!r} to adapt the encoder", f"choose one of: {', '.join(WAYS)}")
    path, words = _manifest(pairs, feedback, example, data, out, patients, outcome)
    manifest = read(path, objects)
    found = audit(manifest)
    show(found)
    if check:
        return _end({"manifest": str(path), "pairs": asdict(found)}, as_json)
    told = feedback if adapt == "frozen" else None
    if told != feedback:
        Console(stderr=True).print("no image head will be written: its other findings read the encoder too, as it is", highlight=False)
    aligned = None if align is None else _aligned(align, data, out, objects, {name for pair in manifest.pairs for name in pair.names}, seed)
    return _learn(manifest, found, Site(words, out, Recipe(adapt, rank, seed), SIDE, aligned, finding or told), as_json)


def _refuse_unread(context: typer.Context, adapt: str, feedback: str | None, example: str | None, align: str | None) -> None:
    """Raises BadParameter."""
    if adapt != "low-rank":
        unread(context, "without --adapt low-rank", "rank")
    if feedback is not None:
        unread(context, "with --feedback, which names the finding", "finding")
    if example is not None:
        unread(context, "with --example, which has an outcome", "outcome")
        return
    unread(context, "without --example", "patients")
    if align != ALIGNED_EXAMPLE:
        unread(context, f"without --example or --align {ALIGNED_EXAMPLE}", "data")


def _manifest(
    pairs: Path | None, feedback: str | None, example: str | None, data: Path, out: Path, patients: int | None, outcome: str
) -> tuple[Path, str]:
    """The file, and what its outcome is called."""
    if sum(one is not None for one in (pairs, feedback, example)) != 1:
        raise StackError("there is nothing to learn from, or too much", "give one of --pairs MANIFEST, --feedback FINDING, --example NAME")
    if pairs is not None:
        return pairs, outcome
    if feedback is not None:
        return _told(feedback, out), f"{feedback} on the film, as readers see it" if outcome == UNNAMED else outcome
    if example not in EXAMPLES:
        raise StackError(f"there is no example {example!r}", f"choose one of: {', '.join(EXAMPLES)}")
    from pipeline.models.finetuning.hannover import OUTCOME, write_manifest

    return write_manifest(data, out / f"{example}{patients or ''}.csv", patients), OUTCOME


def _told(finding: str, out: Path) -> Path:
    """Readers' words in the running stack, as a manifest below `out`."""
    from pipeline import bootstrap
    from pipeline.services.feedback import COLUMNS, Pairs, pairs

    async def ask() -> Pairs:
        async with bootstrap.resources(running_settings(None)) as resources:
            return await pairs(resources.feedback, resources.worklist, finding)

    said = asyncio.run(ask())
    if not said.rows:
        raise StackError(
            f"no reader has said anything of {finding!r} that could be learned from",
            "on the worklist's page, Agree, Disagree or Something else stand beside a finding",
        )
    path = out / f"feedback-{finding}.csv"
    out.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(said.rows)
    Console(stderr=True).print(
        f"{len(said.rows)} pictures written to {path}; left out: {said.contradicted} on which readers differ, {said.forgotten} whose study "
        f"is kept no more, {said.rejected} that were rejected",
        highlight=False,
    )
    return path


def _aligned(align: str, data: Path, out: Path, objects: Path | None, others: set[str], seed: int) -> Aligned:
    from pipeline.models.finetuning import alignment, nih_reports
    from pipeline.models.finetuning.build import CACHE
    from pipeline.models.finetuning.films import Film, Films
    from pipeline.models.finetuning.inputs import look

    made = align == ALIGNED_EXAMPLE
    path = nih_reports.write_manifest(data, out / "nih.csv") if made else Path(align)

    def looked(films: Sequence[Film], progress: Callable[[int, int], None]) -> Any:
        return look([(film.picture, film.digest) for film in films], SIDE, out / CACHE, progress)

    with progress_bars() as progress:
        bar = progress.add_task("aligning films and reports", total=None)
        found = alignment.aligned(
            path,
            Films(path.parent, objects or folder(None) / "objects", SIDE),
            looked,
            others,
            seed,
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    known_as = pseudonym_of()
    names = found.patients if known_as is None else found.patients | {known_as(patient) for patient in found.patients}
    return replace(found, patients=names, figures={**found.figures, "origin": nih_reports.ORIGIN if made else ""})


def _learn(manifest: Manifest, found: Audit, site: Site, as_json: bool) -> None:
    from pipeline.models.finetuning.build import build
    from pipeline.models.finetuning.inputs import HEAD

    with progress_bars() as progress:
        bar = progress.add_task("starting", total=None)
        written, metrics = build(
            manifest.pairs,
            found,
            site,
            lambda what: progress.update(bar, description=what, total=None),
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    _show_results(metrics)
    Console(stderr=True).print(f"written to {written}: the card is {written / 'CARD.md'}", highlight=False)
    if site.finding is not None:
        Console(stderr=True).print(f"the image head: {written / HEAD}; readfirst promote {written / HEAD}", highlight=False)
    _end({"folder": str(written), **metrics}, as_json)


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
    for sentence in (*metrics["sentences"], *_of_alignment(metrics.get("alignment"))):
        console.print(f"  {sentence}", highlight=False)


def _of_alignment(told: dict[str, Any] | None) -> Iterator[str]:
    if told is None:
        return
    at, first = next(iter(told["recall"].items()))
    used = "used" if told["used"] else "not shown to help, and not used"
    yield (
        f"Films and reports aligned: what a film's report says is among the first {at} for {first['aligned']:.0%} (by chance "
        f"{first['chance']:.0%}); for the pairs it is {used}: the card has the figures."
    )


def _end(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(document).decode())
