"""`readfirst site`: checks a site file, and shows the rules: the defaults, a file's, or those in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.adapters.site.file import load
from pipeline.adapters.site.published import as_yaml, default_yaml, json_schema
from pipeline.errors import SiteFileRefused
from pipeline.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of text")]


def register(app: typer.Typer) -> None:
    """Adds `site` with its commands."""
    site = typer.Typer(help="The site file: targets, lists, holds, escalation. `show` prints the defaults to begin with.")
    site.command(epilog="Example: readfirst site check site.yaml")(check)
    site.command(epilog="Example: readfirst site show > site.yaml")(show)
    site.command(epilog="Example: readfirst site schema > site.schema.json")(schema)
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


def schema() -> None:
    """Prints the JSON Schema, which lets an editor complete and check the file while it is written."""
    typer.echo(json_schema(), nl=False)
