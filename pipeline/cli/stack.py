"""`readfirst up`, `down`, `status`: the local stack from the command line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from pipeline.adapters.local import stack as local
from pipeline.adapters.local.folders import Folders
from pipeline.adapters.local.process import rotate, tail
from pipeline.adapters.local.stack import Stack
from pipeline.adapters.local.state import PartState, StackState, State
from pipeline.adapters.local.supervisor import Progress
from pipeline.cli.running import folder, models_folder
from pipeline.errors import StackError

Data = Annotated[Path | None, typer.Option(help="the one folder that holds all state; default: the user's data folder")]
_COLOURS = {State.HEALTHY: "green", State.DONE: "green", State.ABSENT: "yellow", State.RESTARTING: "red", State.UNHEALTHY: "red"}
_START_LIMIT_S = 600.0


def register(app: typer.Typer) -> None:
    """Adds `up`, `down` and `status`."""
    app.command(epilog="Example: readfirst up --detach")(up)
    app.command(epilog="Example: readfirst down --data /srv/readfirst")(down)
    app.command(epilog="Example: readfirst status --json")(status)


def up(
    data: Data = None,
    external: Annotated[
        bool, typer.Option("--external", help="use the Kafka, Postgres and Triton of the settings; run only the roles")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="return once all is healthy; the stack goes on until `readfirst down`")] = False,
) -> None:
    """Starts the servers, gateways, agents and the web page, and keeps them running until Ctrl-C or `readfirst down`."""
    place = folder(data).absolute()
    console = Console(stderr=True)
    if detach:
        if local.status(place).running:
            raise local.already_runs(place)
        log = _detached_log(place)
        if supervisor := _fork_detached(log):
            _await_healthy(place, supervisor, log, console)
            web = local.settings_of(place).web
            _announce(web.host, web.port, console, "readfirst down")
            return
        console = Console(stderr=True)
    stack = local_stack(place, external)
    try:
        with progress_display(console) as progress:
            stack.start(progress)
        web = stack.addresses().web
        _announce(web.host, web.port, console, "Ctrl-C")
        stack.wait()
    except KeyboardInterrupt:
        console.print("stopping; this takes some seconds")
    finally:
        stack.stop()


def down(data: Data = None) -> None:
    """Ends the stack, in order, and waits until nothing of it runs any more."""
    place = folder(data).absolute()
    ended = local.down(place, lambda part, what: typer.echo(f"{part}: {what}"))
    typer.echo(f"the stack on {place} is stopped" if ended else f"no stack ran on {place}")


def status(
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="{running, healthy, data, external, parts: [{name, kind, state, …}]}")] = False,
) -> None:
    """Shows what runs, where it listens, and what is amiss. Exit code 0 if all is healthy, else 1."""
    place = folder(data).absolute()
    stack = local.status(place)
    if as_json:
        typer.echo(json.dumps(_document(place, stack), indent=1))
    elif not stack.running:
        typer.echo(f"no stack runs on {place}; start one with `readfirst up`")
    else:
        Console().print(_table(stack.parts))
    if not stack.healthy:
        raise typer.Exit(1)


def local_stack(data: Path, external: bool = False) -> Stack:
    """The product's own stack, with the models that this version ships."""
    return Stack(data, servers=()) if external else Stack(data, build_models=lambda target: _build_models(target, data))


def _build_models(target: Path, data: Path) -> None:
    from pipeline.models.serving import build_repository

    build_repository(target, "cpu", models_folder(data))


@contextmanager
def progress_display(console: Console) -> Iterator[Progress]:
    """On a terminal a table that changes in place, elsewhere one line per change."""
    if not console.is_terminal:
        started = time.monotonic()
        yield lambda part, what: console.print(f"{time.monotonic() - started:6.1f} s  {part:<14} {what}", highlight=False, markup=False)
        return
    rows: dict[str, str] = {}
    with Live(console=console, refresh_per_second=8) as live:

        def show(part: str, what: str) -> None:
            rows[part] = what
            table = Table.grid(padding=(0, 2))
            for name, words in list(rows.items()):
                colour = _COLOURS.get(State(words), "") if words in list(State) else ""
                table.add_row(f"  {name}", f"[{colour}]{words}[/]" if colour else escape(words))
            live.update(table)

        yield show


def _detached_log(place: Path) -> Path:
    folders = Folders(place)
    folders.make()
    log = folders.log / "up.log"
    rotate(log)
    return log


def _fork_detached(log: Path) -> int:
    """The process id of the supervisor; in it, 0. A fork, for a new process would spend another second on the same imports."""
    if pid := os.fork():
        return pid
    os.setsid()
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    return 0


def _await_healthy(place: Path, supervisor: int, log: Path, console: Console) -> None:
    seen: dict[str, str] = {}
    with progress_display(console) as progress:
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            if os.waitpid(supervisor, os.WNOHANG)[0]:
                raise StackError(f"the stack did not start:\n{tail(log)}", "run `readfirst doctor`")
            stack = local.status(place)
            for part in stack.parts:
                if seen.get(part.name) != part.state:
                    seen[part.name] = part.state
                    progress(part.name, part.state)
            if stack.supervisor is not None and stack.supervisor.pid == supervisor and stack.healthy:
                return
            time.sleep(0.2)
    raise StackError(f"the stack was not healthy after {_START_LIMIT_S:.0f} s", "look at `readfirst status`; end it with `readfirst down`")


def _announce(host: str, port: int, console: Console, end: str) -> None:
    console.print(f"\n  The worklist: [bold]http://{host}:{port}/[/bold]   ({end} stops everything)\n")


def _document(place: Path, stack: StackState) -> dict[str, Any]:
    return {
        "running": stack.running,
        "healthy": stack.healthy,
        "data": str(place),
        "external": stack.external,
        "parts": [_part(part) for part in stack.parts],
    }


def _part(part: PartState) -> dict[str, Any]:
    return {
        "name": part.name,
        "kind": part.kind,
        "state": part.state,
        "since": datetime.fromtimestamp(part.since, UTC).isoformat(),
        "pid": part.identity.pid if part.identity else None,
        "address": part.address,
        "restarts": part.restarts,
        "detail": part.detail,
        "log": part.log,
    }


def _table(parts: list[PartState]) -> Table:
    table = Table("part", "state", "address", "pid", "restarts", "", box=None)
    for part in parts:
        colour = _COLOURS.get(part.state, "")
        words = f"[{colour}]{part.state}[/]" if colour else str(part.state)
        pid = str(part.identity.pid) if part.identity else ""
        table.add_row(part.name, words, part.address or "", pid, str(part.restarts or ""), escape(part.detail))
    return table
