"""The `readfirst` command. Each module here registers its commands; nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import typer
from rich.console import Console

from pipeline.errors import ReadfirstError, StackError

MODULES = (
    "demo",
    "stack",
    "send",
    "worklist",
    "alerts",
    "site",
    "lag",
    "ledger",
    "dlq",
    "replaying",
    "simulate",
    "models",
    "finetune",
    "promote",
    "bench",
    "roles",
)
"""In the order of the help. `run` is built without the others: a stack starts seven of it, and their imports cost a second each."""


def build(modules: Sequence[str] = MODULES) -> typer.Typer:
    """The command line of these modules."""
    app = typer.Typer(
        name="readfirst",
        help="Which study should be read first, and why. Not a medical device: it orders a list.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)  # keeps a command a command even where it is the only one
    for module in modules:
        import_module(f"pipeline.cli.{module}").register(app)
    return app


def main() -> None:
    """Console entry point. An error of ours prints what happened and what to do, not a traceback."""
    try:
        build(("roles",) if sys.argv[1:2] == ["run"] else MODULES)()
    except ReadfirstError as error:
        console = Console(stderr=True)
        console.print(f"[red]error:[/red] {error}", highlight=False)
        if isinstance(error, StackError) and error.remedy:
            console.print(f"  what to do: {error.remedy}", highlight=False)
        sys.exit(1)
