"""`readfirst simulate --log`: a recorded day under other rules, and who would have waited more and who less."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline.errors import StackError

if TYPE_CHECKING:
    from pipeline.simulation.what_if import WhatIf

MOST_SHOWN = 10


def what_if(log: Path, site: Path | None, against: Path | None, scorer: str, against_scorer: str | None, as_json: bool) -> None:
    """Prints the comparison. site, scorer: the rules and scores as they are; against, against_scorer: as they might be.

    Raises StackError where there is nothing to compare, and what a replay raises.
    """
    from pipeline.adapters.telemetry.logging import configure
    from pipeline.simulation import what_if as comparison

    if against is None and against_scorer is None:
        raise StackError("nothing differs", "name other rules with --against SITE.yaml, or other scores with --against-scorer")
    configure("console", "error")
    with Console(stderr=True).status("replaying"):
        now, then = (_changes(log, *each) for each in ((site, scorer), (against or site, against_scorer or scorer)))
    found = comparison.compare(now, then)
    if not found.studies:
        raise StackError(f"no study of {log} was reported", "record a longer time, with the topic reports")
    if as_json:
        typer.echo(msgspec.json.encode(asdict(found)).decode())
    else:
        _show(found)


def _changes(log: Path, site: Path | None, scorer: Any) -> list[Any]:
    from pipeline.replay import running
    from pipeline.simulation.what_if import Change

    moves = running.result(log, running.Choice(scorer=scorer, site=site)).moves
    return [Change(move.at, move.study, move.due_at, move.closed, move.group, move.what) for move in moves]


def _show(found: WhatIf) -> None:
    console = Console()
    table = Table(title=f"{found.studies} reported studies, read again at the same moments: waits as they are → as they would be, minutes")
    for name in ("order", "studies", "mean", "median", "longest", "wait more", "wait less"):
        table.add_column(name, justify="left" if name == "order" else "right")
    for group, each in found.classes.items():
        waits = [(each.mean_now, each.mean_then), (each.median_now, each.median_then), (each.longest_now, each.longest_then)]
        table.add_row(group, str(each.studies), *(f"{a:.0f} → {b:.0f}" for a, b in waits), str(each.more), str(each.less))
    console.print(table)
    moved = [one for one in found.moved if one.minutes]
    for one in moved[:MOST_SHOWN]:
        word = "sooner" if one.minutes > 0 else "later"
        console.print(f"  {abs(one.minutes):6.0f} min {word:<7} {one.group:<12} {one.what:<20} {one.study}", highlight=False)
    if len(moved) > MOST_SHOWN:
        console.print(f"  and {len(moved) - MOST_SHOWN} more", highlight=False)
    if not moved:
        console.print("  no study would have been read at another moment", highlight=False)
