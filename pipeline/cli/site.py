"""`readfirst site`: checks a site file, shows its rules, which held when, and what they lead to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.adapters.site.file import load
from pipeline.adapters.site.published import as_yaml, default_yaml, json_schema
from pipeline.cli.running import running_settings
from pipeline.errors import SiteFileRefused
from pipeline.settings import Settings

Result = TypeVar("Result")
Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of text")]


def register(app: typer.Typer) -> None:
    """Adds `site` with its commands."""
    site = typer.Typer(help="The site file: targets, lists, holds, escalation. `show` prints the defaults to begin with.")
    site.command(epilog="Example: readfirst site check site.yaml")(check)
    site.command(epilog="Example: readfirst site show > site.yaml")(show)
    site.command(epilog="Example: readfirst site schema > site.schema.json")(schema)
    site.command(epilog="Example: readfirst site versions")(versions)
    site.command(epilog="Example: readfirst site churn --hours 24")(churn)
    site.command(epilog="Example: readfirst site sources --json")(sources)
    app.add_typer(site, name="site")


def check(file: Annotated[Path, typer.Argument(help="the site file")], as_json: AsJson = False) -> None:
    """Says whether a file would be taken over; if not, each fault with its line, and exit code 1."""
    try:
        found = load(file)
    except SiteFileRefused as refused:
        if as_json:
            typer.echo(json.dumps({"accepted": False, "faults": refused.faults}))
            raise typer.Exit(1) from None
        raise
    policy = found.policy
    if as_json:
        typer.echo(json.dumps({"accepted": True, "version": policy.version, "digest": found.digest}))
    else:
        typer.echo(f"{file}: good; it will be known as {policy.version}")


def show(
    file: Annotated[Path | None, typer.Argument(help="a site file; without one READFIRST_SITE_FILE, without that the defaults")] = None,
) -> None:
    """Prints the rules with every default filled in."""
    place = file or Settings().site_file
    typer.echo(as_yaml(load(place).document) if place else default_yaml(), nl=False)


def versions(data: Data = None, as_json: AsJson = False) -> None:
    """Tells which rules held when in the running stack, newest first, and which files were refused and why."""
    found = _ask(data, lambda register: register.versions())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for line in found:
        typer.echo(f"{line.at:%Y-%m-%d %H:%M:%S}Z  " + (f"in force: {line.version}" if line.faults is None else "refused:"))
        for fault in line.faults or ():
            typer.echo(f"    {fault}")


def churn(
    data: Data = None,
    hours: Annotated[int, typer.Option(min=1, max=24 * 31, help="how far back")] = 24,
    as_json: AsJson = False,
) -> None:
    """Tells how restless the list was, hour by hour: moves a study, and moves among the first 20."""
    found = _ask(data, lambda register: register.churn(datetime.now(UTC) - timedelta(hours=hours)))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table("hour", "changes", "moves", "moves a study", "among the first 20", "overrides", "holds", box=None)
    for hour in found:
        each = f"{hour.moves / hour.studies:.2f}" if hour.studies else "–"
        counts = (hour.top_moves, hour.overrides, hour.holds)
        table.add_row(f"{hour.hour:%Y-%m-%d %H:%M}Z", str(hour.changes), str(hour.moves), each, *map(str, counts))
    Console().print(table if found else "Nothing has moved.")


def sources(data: Data = None, as_json: AsJson = False) -> None:
    """Tells who orders how much as stat or asap in 28 days, against the department's share. No study is due later for it."""
    found = _ask(data, lambda register: register.sources())
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table("source", "place", "orders", "stat and asap", "share", "inflation", box=None)
    for one in found:
        times = "–" if one.inflation is None else f"{one.inflation:.1f} x"
        table.add_row(one.source, one.place or "–", str(one.orders), str(one.pressing), f"{one.share:.0%}", times)
    Console().print(table if found else "No orders in 28 days.")


def _ask(data: Path | None, question: Callable[[PostgresSiteRegister], Awaitable[Result]]) -> Result:
    settings = running_settings(data)

    async def run() -> Result:
        async with Database.from_settings(settings.postgres) as database:
            return await question(PostgresSiteRegister(database))

    return asyncio.run(run())


def schema() -> None:
    """Prints the JSON Schema, which lets an editor complete and check the file while it is written."""
    typer.echo(json_schema(), nl=False)
