"""`readfirst ledger`: what the order of reading saved and what it cost, day by day."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.running import running_settings
from pipeline.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds `ledger`."""
    app.command(epilog="Example: readfirst ledger --days 7")(ledger)


def ledger(
    data: Annotated[Path | None, typer.Option(help="the data folder of the running stack")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="the newest so many")] = 14,
    as_json: Annotated[bool, typer.Option("--json", help='one JSON object: {"days": [...]}')] = False,
) -> None:
    """Shows the days that studies were read on, beside two orders that know less, at the same reading moments.

    Minutes are a study's; "later" is what those waited longer that were not moved up. Nobody reads faster by an order.
    """
    from pipeline.adapters.telemetry.logging import configure

    configure("console", "error")  # standard output holds the result alone
    asyncio.run(_show(running_settings(data), days, as_json))


async def _show(settings: Settings, limit: int, as_json: bool) -> None:
    from pipeline import bootstrap
    from pipeline.cli.adjusting import in_force
    from pipeline.services.ledger import keep
    from pipeline.worklist.ledger import in_words

    async with bootstrap.resources(settings) as resources:
        await keep(resources.ledger, resources.clock, settings.gateways.default_time_zone, await in_force(resources.database))
        found = await resources.ledger.days(limit)
    if as_json:
        typer.echo(msgspec.json.encode({"days": found}).decode())
        return
    table = Table(title="against first come (1) and order priority (2)", title_justify="left")
    for name in (
        "day",
        "read",
        "moved up",
        "by model",
        "by hand",
        "late",
        "alerts",
        "a shift",
        "PPV",
        "mean wait",
        "moved up (1)",
        "others (1)",
        "moved up (2)",
        "others (2)",
    ):
        table.add_column(name, justify="left" if name == "day" else "right")
    for day in found:
        by_hand = f"{day.overridden} ({day.overridden / day.read:.0%})" if day.overridden else "0"
        counts = (day.read, day.moved_up, day.moved_up_by_model, by_hand, day.late, day.alerts.raised, f"{day.alerts.per_shift:.1f}")
        moved = [in_words(each) for against in (day.first_come, day.order_priority) for each in (against.moved_up, against.others)]
        ppv = "-" if day.alerts.ppv is None else f"{day.alerts.ppv:.0%}"
        table.add_row(f"{day.day}", *map(str, counts), ppv, "–" if day.wait_mean is None else f"{day.wait_mean:.0f} min", *moved)
    console = Console()
    (console if console.is_terminal else Console(width=180)).print(table if found else "No study has been reported yet.")
