"""`readfirst hold`, `defer`, `resume`, `override` and `free`: what readers do to a deadline, in a terminal. All lengths are minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.adapters.site.source import FileSiteSource
from pipeline.cli.running import running_settings
from pipeline.cli.worklist import row, whole_uid
from pipeline.domain.adjustments import KINDS
from pipeline.domain.site import DEFAULT, Policy
from pipeline.ports import ListedItem
from pipeline.services.adjusting import Adjusting

Study = Annotated[str, typer.Argument(help="Study Instance UID, or how it ends, as the list shows it")]
By = Annotated[str, typer.Option(help="your name, as the record keeps it")]
Note = Annotated[str | None, typer.Option(help="more about it, without anything that names the patient")]
Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
AsJson = Annotated[bool, typer.Option("--json", help="the study as `worklist --json` has it, with what readers did to it")]


def register(app: typer.Typer) -> None:
    """Adds all five."""
    app.command(epilog='Example: readfirst hold 949960288 images-missing --by "Dr Weber" --note "axial series"')(hold)
    app.command(epilog='Example: readfirst defer 949960288 --minutes 20 --by "Dr Weber"')(defer)
    app.command(epilog='Example: readfirst resume 949960288 --by "Dr Weber"')(resume)
    app.command(epilog='Example: readfirst override 949960288 --due-in 15 --minutes 60 --reason "theatre waits" --by "Dr Weber"')(override)
    app.command(epilog='Example: readfirst free 949960288 --by "Dr Weber"')(free)


def hold(
    study: Study,
    code: Annotated[str, typer.Argument(help="why, by a code of the site's `holds` (`readfirst site show`)")],
    by: By,
    minutes: Annotated[float | None, typer.Option(help="at most for so long; without it, as long as the reason allows")] = None,
    note: Note = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sets a study aside that cannot be read as it is. Its clock stands still; new images, more danger or the time bring it back."""
    _say(data, study, as_json, lambda adjusting, uid: adjusting.hold(uid, by, code, minutes, note))


def defer(
    study: Study,
    by: By,
    minutes: Annotated[float, typer.Option(help="for so long, but at the latest until it is due")],
    note: Note = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Puts a study off; its clock runs on."""
    _say(data, study, as_json, lambda adjusting, uid: adjusting.defer(uid, by, minutes, note))


def resume(study: Study, by: By, data: Data = None, as_json: AsJson = False) -> None:
    """Takes a hold or a deferral back."""
    _say(data, study, as_json, lambda adjusting, uid: adjusting.resume(uid, by))


def override(
    study: Study,
    by: By,
    reason: Annotated[str, typer.Option(help="why, as everybody will read it")],
    minutes: Annotated[float, typer.Option(help="how long your word stands")],
    due_in: Annotated[float | None, typer.Option(help="the deadline, in minutes from now")] = None,
    due: Annotated[str | None, typer.Option(help="or the deadline itself, as 2026-03-01T12:00:00Z")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sets a study's deadline by your own word; this alone may set it after the order's target."""
    due_at = _due(due, due_in)
    _say(data, study, as_json, lambda adjusting, uid: adjusting.override(uid, by, due_at, minutes, reason))


def free(study: Study, by: By, data: Data = None, as_json: AsJson = False) -> None:
    """Takes an override back."""
    _say(data, study, as_json, lambda adjusting, uid: adjusting.free(uid, by))


def _due(due: str | None, due_in: float | None) -> datetime:
    if (due is None) is (due_in is None):
        raise typer.BadParameter("one of --due and --due-in must be given")
    try:
        return datetime.fromisoformat(due) if due is not None else datetime.now(UTC) + timedelta(minutes=due_in or 0)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"this is no deadline: {error}") from error


def _say(data: Path | None, study: str, as_json: bool, act: Callable[[Adjusting, str], Awaitable[ListedItem]]) -> None:
    """Does it, and says how the study stands now."""
    settings = running_settings(data)

    async def run() -> ListedItem:
        async with Database.from_settings(settings.postgres) as database:
            policy, reader = await in_force(database), PostgresWorklist(database)
            try:
                uid = await whole_uid(reader, study.removeprefix("…"))
                return await act(Adjusting(PostgresActions(database), SystemClock(), lambda: policy), uid)
            finally:
                await reader.close()

    listed = asyncio.run(run())
    if as_json:
        typer.echo(msgspec.json.encode({**row(listed), "adjustment": listed.item.adjustment}).decode())
        return
    item = listed.item
    acts = [reason.evidence.label for reason in item.reasons if reason.evidence.kind in KINDS]
    typer.echo(f"{item.study.study_uid}: due {item.due_at:%Y-%m-%d %H:%M}Z; {'; '.join(acts) or item.why}")


async def in_force(database: Database) -> Policy:
    """The rules that the list is ranked by: those of the record, whatever site file this terminal knows."""
    known = await PostgresSiteRegister(database).in_force()
    return DEFAULT if known is None else FileSiteSource(None).read(known.text).policy
