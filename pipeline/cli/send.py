"""`readfirst send`: files through the real gateways, and what became of each message in them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from pipeline.cli.running import running_settings
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.simulation.files import messages
from pipeline.simulation.messages import Outgoing
from pipeline.simulation.sender import Answer, Sender

TRIES = 10
RETRY_S = 1.0


def register(app: typer.Typer) -> None:
    """Adds the command `send`."""
    app.command(epilog="Example: readfirst send scan.dcm orders/ --json")(send)


def send(
    paths: Annotated[list[Path], typer.Argument(help="files or folders of DICOM, HL7 v2 or FHIR", exists=True)],
    data: Annotated[Path | None, typer.Option(help="the data folder of the running stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="an object a message: path, kind, outcome, reason; last the totals")] = False,
) -> None:
    """Sends files through the gateways' own protocols; exits non-zero only when a gateway gives no final answer."""
    settings = running_settings(data)
    totals = asyncio.run(_send_all(settings, list(_files(paths)), as_json))
    if as_json:
        typer.echo(
            json.dumps({"total": totals.total(), **{name: totals[name] for name in ("accepted", "refused", "ignored", "unanswered")}})
        )
    else:
        typer.echo(", ".join(f"{count} {name}" for name, count in totals.items()) or "nothing to send")
    raise typer.Exit(1 if totals["unanswered"] else 0)


async def _send_all(settings: Settings, files: list[Path], as_json: bool) -> Counter[str]:
    totals: Counter[str] = Counter()
    shown = files if as_json else track(files, "sending", console=Console(stderr=True), transient=True)
    async with Sender(settings.gateways) as sender:
        for path in shown:
            for message in messages(path):
                answer = await _answer(sender, message)
                outcome = answer.outcome if answer else "unanswered"
                totals[outcome] += 1
                reason = answer.reason if answer else "the gateway gave no final answer; see `readfirst status`"
                line = {"path": str(path), "kind": _kind(message), "outcome": outcome, "reason": reason}
                typer.echo(json.dumps(line) if as_json else f"{outcome:<10} {line['kind']:<6} {path}" + (f"  ({reason})" if reason else ""))
    return totals


async def _answer(sender: Sender, message: Outgoing) -> Answer | None:
    for _ in range(TRIES):
        try:
            return await sender.send(message)
        except (Unavailable, OSError):
            await asyncio.sleep(RETRY_S)
    return None


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _kind(message: Outgoing) -> str:
    return message.source.removesuffix("-file")
