"""`readfirst alerts`: what nobody has acknowledged, the steps of one alert, acknowledging and closing it; without patients' names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.running import running_settings

if TYPE_CHECKING:
    from pipeline.bootstrap import Resources
    from pipeline.domain.escalation import Alert

Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]
AlertId = Annotated[str, typer.Argument(help="the alert's id, or how it begins, as `alerts list` shows it")]
SHOWN = 8
Result = TypeVar("Result")
alerts = typer.Typer(help="Alerts: what nobody has acknowledged, who was told; acknowledging and closing them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds `alerts list`, `alerts show`, `alerts acknowledge` and `alerts resolve`."""
    app.add_typer(alerts, name="alerts")


@alerts.command("list", epilog="Example: readfirst alerts list --all --json | jq .finding")
def list_alerts(
    data: Data = None,
    everything: Annotated[bool, typer.Option("--all", help="also acknowledged, silent and closed ones")] = False,
    as_json: AsJson = False,
) -> None:
    """Lists the open alerts, the most critical and oldest first."""
    from pipeline.domain import escalation

    states = {*escalation.STANDING, "resolved", "withdrawn"} if everything else escalation.OPEN
    found = _with(data, lambda resources: resources.alerts.in_states(states))
    if as_json:
        for alert in found:
            typer.echo(msgspec.json.encode(_row(alert)).decode())
        return
    table = Table("alert", "cat.", "state", "since", "told last", "next step", "what", box=None)
    now = datetime.now(UTC)
    for alert in found:
        told = f"{alert.told.role} over {alert.told.channel}" if alert.told else "nobody"
        following = f"{alert.next_at:%H:%M:%S}Z" if alert.is_open and alert.next_at else ""
        since = f"{int((now - alert.raised_at).total_seconds() // 60)} min"
        table.add_row(alert.id[:SHOWN], str(alert.category), alert.state, since, told, following, f"{alert.what} {alert.finding}".strip())
    Console().print(table if found else "No open alerts." if not everything else "No alerts.")


@alerts.command(epilog="Example: readfirst alerts show 3f2a91bc")
def show(alert: AlertId, data: Data = None, as_json: AsJson = False) -> None:
    """Shows one alert with every step, and the record of who received it."""

    async def read(resources: Resources) -> tuple[Alert, list[Any]]:
        found = await _whole(resources, alert)
        return found, await resources.alerts.history(found.id)

    found, history = _with(data, read)
    if as_json:
        typer.echo(msgspec.json.encode({**_row(found), "record": found.record, "history": history}).decode())
        return
    console = Console()
    console.print(f"[bold]{found.what} {found.finding}[/bold]  {found.state}, ACR category {found.category}", highlight=False)
    console.print(f"{found.id}  study {found.study_uid or '–'}", highlight=False)
    for entry in history:
        whom = f"{entry.role} over {entry.channel}" if entry.role else entry.by or ""
        repeat = "  (may have been sent twice)" if entry.repeat else ""
        console.print(f"{entry.at:%H:%M:%S}Z  {entry.step:<12} {whom:<26} {entry.reason}{repeat}", highlight=False, markup=False)
    if found.record is not None:
        console.print("record", msgspec.to_builtins(found.record))


@alerts.command(epilog='Example: readfirst alerts acknowledge 3f2a91bc --by "Dr Weber"')
def acknowledge(
    alert: AlertId,
    by: Annotated[str, typer.Option(help="your name, as the record keeps it")],
    data: Data = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="also from somebody who has acknowledged it")] = False,
    as_json: AsJson = False,
) -> None:
    """Stops the ladder of an alert, and acknowledges its study on the list."""

    async def act(resources: Resources) -> Alert:
        found = await _whole(resources, alert)
        return await resources.alert_desk().acknowledge(found.id, by, "command line", take_over=take_over)

    done = _with(data, act)
    if as_json:
        typer.echo(msgspec.json.encode({**_row(done), "record": done.record}).decode())
    else:
        typer.echo(f"{done.what} {done.finding}: acknowledged by {done.acknowledged_by}")


@alerts.command(
    epilog='Example: readfirst alerts resolve 3f2a91bc --by "Dr Weber" --received-by "Dr Stone, ward 5" --method phone --confirmed'
)
def resolve(
    alert: AlertId,
    by: Annotated[str, typer.Option(help="your name: who told it")],
    received_by: Annotated[str | None, typer.Option(help="who was told; yourself if left out")] = None,
    method: Annotated[str, typer.Option(help="how: phone, in person and the like")] = "command line",
    finding: Annotated[str | None, typer.Option(help="what was told, without identifiers; the alert's own words if left out")] = None,
    data: Data = None,
    confirmed: Annotated[bool | None, typer.Option("--confirmed/--refuted", help="whether the finding was there, where you know")] = None,
    as_json: AsJson = False,
) -> None:
    """Closes an alert with the record of six fields; when it was identified and when received are taken from the alert and the clock."""
    from pipeline.services.alert_desk import Resolution

    async def act(resources: Resources) -> Alert:
        found = await _whole(resources, alert)
        return await resources.alert_desk().resolve(found.id, by, Resolution(received_by, method, finding, confirmed))

    done = _with(data, act)
    if as_json:
        typer.echo(msgspec.json.encode({**_row(done), "record": done.record, "confirmed": done.confirmed}).decode())
        return
    typer.echo(f"{done.what} {done.finding}: closed")
    for name, value in msgspec.to_builtins(done.record).items():
        typer.echo(f"  {name.replace('_', ' '):<14} {value}")


async def _whole(resources: Resources, beginning: str) -> Alert:
    """The alert whose id begins so; where none or more than one does, the text is taken for an id."""
    from pipeline.domain import escalation

    known = await resources.alerts.in_states({*escalation.STANDING, "resolved", "withdrawn"}, limit=10_000)
    found = [one for one in known if one.id.startswith(beginning)]
    return found[0] if len(found) == 1 else await resources.alerts.get(beginning)


def _with(data: Path | None, work: Callable[[Resources], Awaitable[Result]]) -> Result:
    settings = running_settings(data)

    async def run() -> Result:
        from pipeline import bootstrap

        async with bootstrap.resources(settings) as resources:
            return await work(resources)

    return asyncio.run(run())


def _row(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "study_uid": alert.study_uid,
        "trigger": alert.trigger,
        "category": alert.category,
        "state": alert.state,
        "what": alert.what,
        "finding": alert.finding,
        "raised_at": alert.raised_at,
        "next_at": alert.next_at,
        "told": alert.told,
        "acknowledged_by": alert.acknowledged_by,
        "acknowledged_at": alert.acknowledged_at,
    }
