"""`readfirst promote`, `shadow` and `drift`: a model's way into service, beside it, and away from what it was made on."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.cli.options import unread
from pipeline.cli.running import folder, models_folder
from pipeline.errors import NotFound, StackError, Unavailable
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.adapters.onnx.versions import ModelVersions
    from pipeline.domain.drift import Reference
    from pipeline.models.promotion import Compared
    from pipeline.models.triton_repository import Flavour

MODEL = "clinical_risk"
Model = Annotated[
    str, typer.Option(help=f"{MODEL}, or an image head by its name, as its folder has it; a candidate says itself what it is")
]
Stack = Annotated[Path | None, typer.Option("--stack", help="the data folder of the stack")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object")]


def register(app: typer.Typer) -> None:
    """Adds the three."""
    app.command(epilog="Example: readfirst promote ./clinical_risk_2     Example: readfirst promote --rollback")(promote)
    app.command(epilog="Example: readfirst shadow ./clinical_risk_2     Example: readfirst shadow --json")(shadow)
    app.command(epilog="Example: readfirst drift --days 7")(drift)


def promote(
    context: typer.Context,
    candidate: Annotated[Path | None, typer.Argument(help="a folder that `train` or `finetune` wrote")] = None,
    data: Annotated[Path, typer.Option(help="the folder with the data that both models are compared on")] = Path("../shared/data"),
    force: Annotated[bool, typer.Option("--force", help="though it is worse, or cannot be compared; needs --reason")] = False,
    reason: Annotated[str | None, typer.Option(help="kept with the promotion")] = None,
    by: Annotated[str, typer.Option(help="who does it")] = "",
    rollback: Annotated[bool, typer.Option("--rollback", help="back to what was served before")] = False,
    model: Model = MODEL,
    stack: Stack = None,
    as_json: Json = False,
) -> None:
    """Compares a candidate with the served model on the same patients, and serves it from now on, without losing a request.

    A candidate that is worse beyond its 95 % interval, for all or for a subgroup, is refused.
    """
    if candidate is not None:
        unread(context, "with a candidate, which says itself what it is", "model")
    if rollback:
        unread(context, "with --rollback", "candidate", "data", "force")
    elif candidate is None:
        unread(context, "without a candidate or --rollback", "data", "force", "reason", "by")
    versions, person = _versions(stack, model, candidate), by or getpass.getuser()
    if rollback:
        _roll_back(versions, stack, person, reason)
        return _show_state(versions, [], as_json)
    if candidate is None:
        return _show_state(versions, [], as_json)
    compared, objections = _objections(versions, candidate, data)
    if objections and not (force and reason):
        for words in objections:
            Console(stderr=True).print(f"  [red]against it:[/red] {words}", highlight=False)
        raise StackError("the candidate is not promoted", "keep what is served, or give --force with a --reason, which is kept")
    version = versions.install(candidate)
    _before_triton(stack, versions, versions.folder_of(version), lambda: versions.promote(version, _now(), person, reason, objections))
    return _show_state(versions, compared, as_json)


def _roll_back(versions: ModelVersions, stack: Path | None, person: str, reason: str | None) -> None:
    before = versions.state().before
    target = versions.folder_of(before) if before else versions.shipped
    _before_triton(stack, versions, target, lambda: versions.roll_back(_now(), person, reason))


def _before_triton(stack: Path | None, versions: ModelVersions, target: Path, note: Callable[[], object]) -> None:
    """Triton first, then the state that agents and the next start go by. Where that cannot be noted (no room, Ctrl-C), Triton goes back.

    A Triton that starts meanwhile waits: it would build the old version from a state that is about to change.
    """
    from pipeline.models.serving import alone, serve

    before, triton = versions.examined().folder, None
    try:
        triton = _triton(stack)
        with alone(triton[0]) if triton else nullcontext():
            before = versions.examined().folder  # another promotion may have been waited for
            if triton:
                serve(target, before, *triton)
            note()
    except Unavailable as error:
        raise StackError(str(error), "the old version goes on; look at Triton's log, and promote again when it answers") from error
    except BaseException:
        # the state says what is right: it may have been noted in the very moment of the interrupt
        if triton and versions.examined().folder == before:
            serve(before, target, *triton)
        raise


def _triton(stack: Path | None) -> tuple[Path, list[str], Flavour] | None:
    """Repository, addresses and flavour of what has to be told; None where no Triton runs. Raises Unavailable, StackError."""
    from pipeline.adapters.local.stack import settings_of, status
    from pipeline.adapters.triton import control

    place = folder(stack)
    running = status(place)
    told = (settings_of(place) if running.running else Settings()).triton
    if running.running and not running.external:
        return (place / "triton", [told.url], "cpu") if told.url else None
    if told.repository is not None and told.url:
        return told.repository, control.servers(told.control) if told.control else [told.url], told.flavour
    if running.running and told.url:
        raise StackError("this stack's Triton is a server of its own", "name the folder that it serves: READFIRST_TRITON__REPOSITORY")
    return None


def _objections(versions: ModelVersions, candidate: Path, data: Path) -> tuple[list[Compared], list[str]]:
    from pipeline.models.clinical import promotion as clinical
    from pipeline.models.imaging import promotion as imaging

    further: list[str] = []
    served = versions.examined().folder
    try:
        if versions.model == MODEL:
            further = clinical.another_question(served, candidate)
            compared = clinical.compare_on(data, served, candidate)
        else:
            compared, further = imaging.compare_on(data, served, candidate, versions.shipped)
    except (FileNotFoundError, NotFound) as error:
        return [], [*further, f"there is nothing to compare it on: {error}"]
    return compared, [*further, *(words for one in compared for words in one.objections)]


def _show_state(versions: ModelVersions, compared: list[Compared], as_json: bool) -> None:
    state, refusal = versions.state(), versions.examined().refusal
    if as_json:
        told = {"served": state.served or "shipped", "refused": refusal, "shadow": state.shadow}
        typer.echo(msgspec.json.encode({**told, "compared": compared, "history": state.history}).decode())
        return
    console = Console()
    if compared:
        console.print(_comparison(compared))
    console.print(f"served: {state.served or 'the shipped version'}; looking on: {state.shadow or 'nobody'}", highlight=False)
    if refusal is not None:
        console.print(f"[yellow]the shipped version stands in:[/yellow] {escape(refusal)}", highlight=False)
    for entry in state.history:
        against = f" (against it: {'; '.join(entry.objections)})" if entry.objections else ""
        why = f": {entry.reason}" if entry.reason else ""
        console.print(f"  {entry.at:%Y-%m-%d %H:%MZ} {entry.act} {entry.version} by {entry.by}{why}{against}", highlight=False)


def _comparison(compared: list[Compared]) -> Table:
    table = Table(title="candidate and served, on the same patients (95 % by patient)", title_justify="left")
    for name in ("group", "patients", "AUC served", "candidate", "difference", "ECE served", "candidate"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for one in compared:
        low, high = one.auc_difference
        difference = f"{one.auc_candidate - one.auc_served:+.3f} [{low:+.3f}, {high:+.3f}]"
        aucs = (f"{one.auc_served:.3f}", f"{one.auc_candidate:.3f}", difference)
        table.add_row(one.group, f"{one.patients:,}", *aucs, f"{one.ece_served:.3f}", f"{one.ece_candidate:.3f}")
    return table


def shadow(
    context: typer.Context,
    candidate: Annotated[Path | None, typer.Argument(help="a folder of `train` or `finetune`; without one: how it compares")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="nobody looks on any more")] = False,
    hours: Annotated[float, typer.Option(min=0.01, help="of the comparison")] = 24.0,
    by: Annotated[str, typer.Option(help="who does it")] = "",
    model: Model = MODEL,
    stack: Stack = None,
    as_json: Json = False,
) -> None:
    """Lets a candidate score the live stream beside the served model: kept and compared, never part of a rank."""
    if candidate is not None:
        unread(context, "with a candidate, which says itself what it is", "model", "stop")
    if stop or candidate is not None:
        unread(context, "without the comparison", "hours")
    else:
        unread(context, "in the comparison, which is of all models", "model", "by")
    versions, person = _versions(stack, model, candidate), by or getpass.getuser()
    if stop or candidate is not None:
        versions.look_on(None if candidate is None else versions.install(candidate), _now(), person)
        return _show_state(versions, [], as_json)
    return _compare_shadow(stack, hours, as_json)


def _compare_shadow(stack: Path | None, hours: float, as_json: bool) -> None:
    import asyncio

    from pipeline import bootstrap
    from pipeline.cli.running import running_settings
    from pipeline.domain.shadow import Comparison, compare
    from pipeline.domain.site import DEFAULT

    async def read() -> list[Comparison]:
        async with bootstrap.resources(running_settings(stack)) as resources:
            return compare(await resources.shadow_scores.since(_now() - timedelta(hours=hours)), DEFAULT.risk.none_below)

    found = asyncio.run(read())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table(show_header=False, title="served and looking on, on the same requests", title_justify="left")
    for one in found:
        alike = "-" if one.agreement is None else f"{one.agreement:.1%}"
        rows = {
            "served → looking on": f"version {one.served_version} → version {one.shadow_version}",
            "scores of patients": f"{one.scores:,} of {one.patients:,}",
            "mean risk": f"{one.mean_served:.3f} → {one.mean_shadow:.3f}, {one.mean_absolute_difference:.3f} apart",
            "put higher": f"{one.higher:.0%}",
            f"on the other side of {one.threshold:g}": f"{one.crossing:.1%}",
            "two patients in the same order": alike,
        }
        for name, value in rows.items():
            table.add_row(name, value)
        table.add_section()
    Console().print(table if found else "no candidate has scored in this time")


def drift(
    days: Annotated[int, typer.Option(min=1, max=60, help="back from today (UTC)")] = 1,
    model: Model = MODEL,
    stack: Stack = None,
    as_json: Json = False,
) -> None:
    """Compares what the served model was asked, and what it said, with what it was made on: stability index, missing inputs."""
    import asyncio

    from pipeline import bootstrap
    from pipeline.cli.running import running_settings
    from pipeline.domain.drift import Drift, drifts

    version, reference = _made_on(_versions(stack, model))
    if reference is None:
        raise StackError(f"version {version} came without the distribution it was made on", "train it again with this version of Readfirst")

    async def read() -> dict[str, list[Drift]]:
        async with bootstrap.resources(running_settings(stack)) as resources:
            back = [(_now() - timedelta(days=each)).date() for each in range(days)]
            return {f"{day}": drifts(reference, await resources.drift_counts.of(day, version)) for day in back}

    found = asyncio.run(read())
    if as_json:
        typer.echo(msgspec.json.encode({"version": version, "days": found}).decode())
        return
    for day, each in found.items():
        table = Table("input", "rows", "PSI", "missing", "before", "", title=f"{day}, version {version}", title_justify="left")
        for one in each:
            shares = (f"{one.missing:.0%}", f"{one.missing_before:.0%}")
            table.add_row(one.input, f"{one.rows:,}", f"{one.psi:.2f}", *shares, one.verdict)
        Console().print(table)


def _made_on(versions: ModelVersions) -> tuple[str, Reference | None]:
    """The served version, as its answers are counted, and the distribution that it was made on."""
    from pipeline.adapters.onnx import artefact, heads
    from pipeline.services.picture_watch import served_as

    served = versions.examined().folder
    version = versions.kind.reference(served).version
    if versions.model == MODEL:
        return version, artefact.load_distribution(served)
    return served_as(versions.model, version), heads.load_distribution(served)


def _versions(stack: Path | None, model: str = MODEL, candidate: Path | None = None) -> ModelVersions:
    """Of the model that `candidate` is of, where there is one."""
    from pipeline.adapters.onnx import heads
    from pipeline.adapters.onnx.versions import ModelVersions
    from pipeline.models.serving import is_head

    if candidate is not None:
        model = heads.reference_in(candidate).head if is_head(candidate) else MODEL
    if model == MODEL:
        return ModelVersions(models_folder(stack), MODEL)
    if model not in heads.names():
        raise StackError(f"there is no model {model!r}", f"choose one of: {', '.join((MODEL, *heads.names()))}")
    return ModelVersions.of_head(models_folder(stack), model)


def _now() -> datetime:
    return datetime.now(UTC)
