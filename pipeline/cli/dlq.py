"""`readfirst dlq`: what could not be understood; shown, sent again after a fix, or purged with a reason."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import bootstrap
from pipeline.cli.running import running_settings
from pipeline.errors import Conflict, NotFound
from pipeline.ports.operations import HeldLetter, LetterPlace
from pipeline.services.letters import LetterDesk

Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
Place = Annotated[str, typer.Argument(help="PARTITION:OFFSET as `dlq list` shows it")]
Places = Annotated[list[str], typer.Argument(metavar="PLACE...", help="PARTITION:OFFSET as `dlq list` shows it; one or many")]
dlq = typer.Typer(help="The dead letters: records that could not be understood, with bytes, place and reason.", no_args_is_help=True)
Result = TypeVar("Result")
SUMMARY = "place, reason, from, recorded_at, explanation, bytes, returned, settled"


def register(app: typer.Typer) -> None:
    """Adds `dlq list`, `dlq show`, `dlq redrive` and `dlq purge`."""
    app.add_typer(dlq, name="dlq")


@dlq.command("list", epilog="Example: readfirst dlq list --json | jq .reason")
def list_letters(
    data: Data = None,
    limit: Annotated[int, typer.Option(help="the newest so many")] = 50,
    settled: Annotated[bool, typer.Option("--all", help="those sent again or purged as well")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=f"one JSON object a line: {SUMMARY}")] = False,
) -> None:
    """Lists the dead letters that wait, newest first."""
    letters = _at_the_desk(data, lambda desk: desk.list(limit, with_settled=settled))
    if as_json:
        for held in letters:
            typer.echo(msgspec.json.encode(_summary(held)).decode())
        return
    table = Table("place", "reason", "from", "when", "explanation", box=None)
    for held in letters:
        letter = held.letter
        place = f"{letter.topic}/{letter.partition}/{letter.offset}"
        table.add_row(str(held.place), letter.reason, place, f"{letter.recorded_at:%m-%d %H:%M:%S}Z", escape(_words(held)))
    Console().print(table if letters else "No dead letters.")


@dlq.command(epilog="Example: readfirst dlq show 3:17")
def show(place: Place, data: Data = None) -> None:
    """Shows one dead letter with its bytes."""
    where = _place(place)
    held = _at_the_desk(data, lambda desk: desk.get(where))
    more = {**_summary(held), "headers": held.letter.headers, "key": held.letter.key}
    typer.echo(msgspec.json.format(msgspec.json.encode(more)).decode())
    typer.echo(held.letter.body.decode("utf-8", "backslashreplace"))


@dlq.command(epilog="Example: readfirst dlq list --limit 2000 --json | jq -r .place | xargs readfirst dlq redrive")
def redrive(places: Places, data: Data = None) -> None:
    """Sends dead letters to their topics again, after a fix. An event that was applied meanwhile is ignored as a duplicate; one that is
    still bad comes back, with a count of how often. Exit code 1: one of them is not there, or was settled before; the others are sent."""

    async def send(desk: LetterDesk, place: LetterPlace) -> str:
        return f"sent {place} to {await desk.redrive(place, getpass.getuser())} again"

    _settle(data, places, send)


@dlq.command(epilog='Example: readfirst dlq purge 3:17 --reason "test message of the vendor"')
def purge(places: Places, reason: Annotated[str, typer.Option(help="why; it is kept with your name")], data: Data = None) -> None:
    """Takes dead letters off the list for good. Their bytes stay on the topic until retention; who, when and why is kept. Exit code 1: one
    of them is not there, or was settled before; the others are purged."""

    async def put_away(desk: LetterDesk, place: LetterPlace) -> str:
        await desk.purge(place, reason, getpass.getuser())
        return f"purged {place}"

    _settle(data, places, put_away)


def _settle(data: Path | None, places: list[str], act: Callable[[LetterDesk, LetterPlace], Awaitable[str]]) -> None:
    """One after the other, each told; what two people do at the same time stops neither."""
    wanted = [_place(place) for place in places]

    async def run(desk: LetterDesk) -> int:
        failed = 0
        for place in wanted:
            try:
                typer.echo(await act(desk, place))
            except (NotFound, Conflict) as error:
                typer.echo(str(error), err=True)
                failed += 1
        return failed

    raise typer.Exit(int(_at_the_desk(data, run) > 0))


def _at_the_desk(data: Path | None, act: Callable[[LetterDesk], Awaitable[Result]]) -> Result:
    from pipeline.adapters.telemetry.logging import configure

    configure("console", "warning")  # who did what is in the answer, and in the store
    settings = running_settings(data)

    async def run() -> Result:
        async with bootstrap.resources(settings) as resources:
            return await act(resources.letters())

    return asyncio.run(run())


def _words(held: HeldLetter) -> str:
    came_back = f"; came back {held.returned} times" if held.returned else ""
    settled = f"; {held.settled.outcome} by {held.settled.by}: {held.settled.reason}" if held.settled else ""
    return held.letter.explanation + came_back + settled


def _summary(held: HeldLetter) -> dict[str, object]:
    letter = held.letter
    return {
        "place": str(held.place),
        "reason": letter.reason,
        "from": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "recorded_at": letter.recorded_at,
        "explanation": letter.explanation,
        "bytes": len(letter.body),
        "returned": held.returned,
        "settled": held.settled and {"outcome": held.settled.outcome, "by": held.settled.by, "reason": held.settled.reason},
    }


def _place(text: str) -> LetterPlace:
    number, _, offset = text.partition(":")
    if not (number.isdigit() and offset.isdigit()):
        raise typer.BadParameter("a place is PARTITION:OFFSET, as `readfirst dlq list` shows it")
    return LetterPlace(int(number), int(offset))
