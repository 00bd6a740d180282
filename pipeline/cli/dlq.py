"""`readfirst dlq`: what could not be understood; shown, and sent again after a fix."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.adapters.kafka.dead_letters import KafkaDeadLetters, redrive
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.cli.running import running_settings
from schemas.dead_letter import DeadLetter

Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
Place = Annotated[str, typer.Argument(help="PARTITION:OFFSET as `dlq list` shows it")]
dlq = typer.Typer(help="The dead letters: records that could not be understood, with bytes, place and reason.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds `dlq list`, `dlq show` and `dlq redrive`."""
    app.add_typer(dlq, name="dlq")


@dlq.command("list", epilog="Example: readfirst dlq list --json | jq .reason")
def list_letters(
    data: Data = None,
    limit: Annotated[int, typer.Option(help="the newest so many")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Lists the dead letters, newest first."""
    letters = sorted(KafkaDeadLetters(running_settings(data).kafka).read(), key=lambda row: row[2].recorded_at, reverse=True)[:limit]
    if as_json:
        for number, offset, letter in letters:
            typer.echo(msgspec.json.encode({"place": f"{number}:{offset}", **_summary(letter)}).decode())
        return
    table = Table("place", "reason", "from", "when", "explanation", box=None)
    for number, offset, letter in letters:
        summary = _summary(letter)
        table.add_row(
            f"{number}:{offset}", letter.reason, str(summary["from"]), f"{letter.recorded_at:%Y-%m-%d %H:%M:%S}Z", letter.explanation
        )
    Console().print(table if letters else "No dead letters.")


@dlq.command(epilog="Example: readfirst dlq show 3:17")
def show(place: Place, data: Data = None) -> None:
    """Shows one dead letter with its bytes."""
    letter = KafkaDeadLetters(running_settings(data).kafka).get(*_place(place))
    typer.echo(msgspec.json.format(msgspec.json.encode({**_summary(letter), "headers": letter.headers, "key": letter.key})).decode())
    typer.echo(letter.body.decode("utf-8", "backslashreplace"))


@dlq.command("redrive", epilog="Example: readfirst dlq redrive 3:17")
def redrive_letter(place: Place, data: Data = None) -> None:
    """Sends one dead letter to its topic again, after a fix. An event that was applied meanwhile is ignored as a duplicate."""
    settings = running_settings(data)
    record = redrive(KafkaDeadLetters(settings.kafka).get(*_place(place)))

    async def send() -> None:
        log = KafkaEventLog(settings.kafka)
        await log.append([record])
        await log.close()

    asyncio.run(send())
    typer.echo(f"sent to {record.topic.name} again")


def _summary(letter: DeadLetter) -> dict[str, object]:
    return {
        "reason": letter.reason,
        "from": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "recorded_at": letter.recorded_at,
        "explanation": letter.explanation,
        "bytes": len(letter.body),
    }


def _place(text: str) -> tuple[int, int]:
    number, _, offset = text.partition(":")
    if not (number.isdigit() and offset.isdigit()):
        raise typer.BadParameter("a place is PARTITION:OFFSET, as `readfirst dlq list` shows it")
    return int(number), int(offset)
