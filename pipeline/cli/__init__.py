"""The `readfirst` command. Each module here registers its commands; nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module

import typer
from rich.console import Console

from pipeline.errors import ReadfirstError, StackError

COMMANDS = {
    "demo": ("demo",),
    "stack": ("up", "down", "status"),
    "doctor": ("doctor",),
    "send": ("send",),
    "worklist": ("worklist", "explain"),
    "adjusting": ("hold", "defer", "resume", "override", "free"),
    "alerts": ("alerts",),
    "site": ("site",),
    "lag": ("lag",),
    "ledger": ("ledger",),
    "dlq": ("dlq",),
    "replaying": ("record", "replay", "diff"),
    "simulate": ("simulate",),
    "models": ("train", "evaluate"),
    "finetune": ("finetune",),
    "promote": ("promote", "shadow", "drift"),
    "bench": ("bench",),
    "roles": ("run",),
}
"""Which module has which commands, in the order of the help. A command is built without the other modules: all imports take seconds."""


def build(modules: Iterable[str] = COMMANDS) -> typer.Typer:
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
        build([module for module, commands in COMMANDS.items() if sys.argv[1:2] and sys.argv[1] in commands] or COMMANDS)()
    except ReadfirstError as error:
        console = Console(stderr=True)
        console.print(f"[red]error:[/red] {error}", highlight=False)
        if isinstance(error, StackError) and error.remedy:
            console.print(f"  what to do: {error.remedy}", highlight=False)
        sys.exit(1)
