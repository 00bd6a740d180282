"""The `readfirst` command. Each module here registers its commands; nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from pipeline.errors import ReadfirstError, StackError


def build() -> typer.Typer:
    """The whole command line."""
    from pipeline.cli import bench, demo, dlq, models, roles, send, stack, worklist

    app = typer.Typer(
        name="readfirst",
        help="Which study should be read first, and why. Not a medical device: it orders a list.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    for module in (demo, stack, send, worklist, dlq, models, bench, roles):
        module.register(app)
    return app


def main() -> None:
    """Console entry point. An error of ours prints what happened and what to do, not a traceback."""
    try:
        build()()
    except ReadfirstError as error:
        console = Console(stderr=True)
        console.print(f"[red]error:[/red] {error}", highlight=False)
        if isinstance(error, StackError) and error.remedy:
            console.print(f"  what to do: {error.remedy}", highlight=False)
        sys.exit(1)
