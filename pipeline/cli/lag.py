"""`readfirst lag`: how far each stage is behind, in seconds and records, and what that does to the list; for people and for scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline import bootstrap
from pipeline.cli.running import running_settings
from pipeline.domain.stages import BEHIND_AFTER_S, age_in_words
from pipeline.services.conditions import Condition, Operations, StageStanding
from pipeline.services.monitor import LOOK_EVERY_S, Monitor
from pipeline.settings import Settings
from pipeline.worklist.operations import document, thinned

BARS = " ▁▂▃▄▅▆▇█"
TRAIL_SHOWN = 40


def register(app: typer.Typer) -> None:
    """Adds `lag`."""
    app.command(epilog="Example: readfirst lag --once --threshold 10 || page-somebody")(lag)


def lag(
    data: Annotated[Path | None, typer.Option(help="the data folder of the running stack")] = None,
    once: Annotated[bool, typer.Option("--once", help="one look, then end")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one look as one JSON object: stages, sources, conditions, dead letters")] = False,
    threshold: Annotated[float, typer.Option(min=0, help="seconds behind from which on the exit code is 1")] = BEHIND_AFTER_S,
    partitions: Annotated[bool, typer.Option("--partitions", help="a line for each partition that is behind")] = False,
) -> None:
    """Shows how far each stage is behind, live until Ctrl-C. Exit code 0: none is; 1: one is, by more than the threshold; 2: a store does
    not answer."""
    raise typer.Exit(asyncio.run(_show(running_settings(data), once or as_json, as_json, threshold, partitions)))


async def _show(settings: Settings, once: bool, as_json: bool, threshold: float, partitions: bool) -> int:
    async with bootstrap.resources(settings) as resources, resources.monitor() as monitor:
        seen = await monitor.look()
        if as_json:
            typer.echo(msgspec.json.encode(document(seen, monitor)).decode())
        elif once:
            Console().print(_picture(seen, monitor, partitions))
        else:
            seen = await _follow(monitor, seen, partitions)
        return exit_code(seen, threshold)


async def _follow(monitor: Monitor, seen: Operations, partitions: bool) -> Operations:
    with Live(_picture(seen, monitor, partitions), auto_refresh=False) as live:
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                seen = await monitor.look()
                live.update(_picture(seen, monitor, partitions), refresh=True)
        except asyncio.CancelledError:  # Ctrl-C
            return seen


def exit_code(seen: Operations, threshold: float) -> int:
    """For scripts."""
    if not all(seen.up.values()):
        return 2
    return int(any(stage.seconds > threshold for stage in seen.stages))


def _picture(seen: Operations, monitor: Monitor, partitions: bool) -> Group:
    table = Table("stage", "behind", "records", "studies", "last minutes", box=None)
    for stage in seen.stages:
        table.add_row(*_row(stage, list(monitor.trails[stage.stage.name])))
        if partitions:
            _add_partitions(table, stage)
    letters = f"{seen.letters} of {seen.letters_limit}" if seen.letters else "none"
    foot = f"{seen.at:%H:%M:%S}Z   open {seen.figures.open}, overdue {seen.figures.overdue}   dead letters waiting: {letters}"
    return Group(table, Text(foot, style="dim"), *_conditions(monitor.conditions))


def _row(stage: StageStanding, trail: Sequence[float]) -> tuple[Text, Text, str, str, Text]:
    late = stage.seconds >= BEHIND_AFTER_S
    style = "bold red" if late else "green"
    words = age_in_words(stage.seconds) if stage.records else "nothing waits"
    still = "  stands still" if stage.standing_still else ""
    return Text(stage.stage.name), Text(words + still, style=style), f"{stage.records:,}", str(stage.studies or ""), Text(spark(trail))


def _add_partitions(table: Table, stage: StageStanding) -> None:
    for lag in sorted((lag for lag in stage.lags if lag.records), key=lambda lag: -lag.seconds):
        table.add_row(f"  {lag.topic}-{lag.partition}", age_in_words(lag.seconds), f"{lag.records:,}", "", "", style="dim")


def _conditions(conditions: Sequence[Condition]) -> list[Text]:
    """Level and words; the runbook of each."""
    if not conditions:
        return [Text("All is as it should be.", style="green")]
    return [
        Text(
            f"{'!!' if condition.level == 'bad' else ' !'} {condition.words} (since {condition.since:%H:%M:%S}Z; "
            f"infra/runbooks/{condition.remedy}.md)",
            style="bold red" if condition.level == "bad" else "yellow",
        )
        for condition in conditions
    ]


def spark(trail: Sequence[float]) -> str:
    """A line of bars; full height is the promise's tenfold or the worst seen, whichever is more."""
    points = thinned(list(trail), TRAIL_SHOWN)
    top = max([10.0, *points])
    return "".join(BARS[min(round(point / top * (len(BARS) - 1)), len(BARS) - 1)] for point in points)
