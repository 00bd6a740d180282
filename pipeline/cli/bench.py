"""`readfirst bench`: the project's own performance figures, beside other ways to do the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.benchmarks.vitals import Load

Progress = Callable[[str, str], None]
MESSAGES, OBJECTS, STUDIES, RECORDED = 5_000, 500, 60, 200_000


class Figure(StrEnum):
    """What can be measured."""

    CONTEXT = "context"
    OVERHEAD = "overhead"
    LATENCY = "latency"
    INTAKE = "intake"
    STARTUP = "startup"
    MEMORY = "memory"
    SIMULATION = "simulation"
    ESCALATION = "escalation"
    RANKING = "ranking"
    REPLAY = "replay"
    RECORD = "record"
    ALERTING = "alerting"
    SERVING = "serving"


def register(app: typer.Typer) -> None:
    """Adds the command `bench`."""
    app.command(epilog="Example: readfirst bench context --runs 3     Example: readfirst bench --write-readme")(bench)


def bench(
    figure: Annotated[Figure | None, typer.Argument(help="one figure; all of them where none is named")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a figure, by name where there are several")] = False,
    write_readme: Annotated[bool, typer.Option(help="keep the results in infra/figures.json; write README and infra/SIZING.md")] = False,
    runs: Annotated[int | None, typer.Option(min=1, help="context (1), overhead (5), simulation, startup, alerting (3): rounds")] = None,
    events: Annotated[int, typer.Option(min=10_000, help="context, overhead: vital signs")] = 200_000,
    open_share: Annotated[float, typer.Option(min=0, max=1, help="the same: share of the patients with a study to be read")] = 0.05,
    seconds: Annotated[float, typer.Option(min=1, help="latency, serving: how long each rate or part is held")] = 20.0,
) -> None:
    """Measures on servers of its own (temporary, on this machine), so it needs a quiet machine and some minutes.

    The reference builds need a checkout with the development dependencies, and uv.
    """
    from pipeline.benchmarks import figures, tables
    from pipeline.benchmarks.vitals import Load

    console = Console(stderr=True)
    measures = _measures(runs, Load(datetime.now(UTC), events, open_share=open_share), seconds)
    results: dict[str, dict[str, Any]] = {}
    load_average = os.getloadavg()[0]
    for name in [figure] if figure else list(Figure):
        console.print(f"[bold]{name}[/bold]")
        results[name] = measures[name](lambda part, what: console.print(f"  {part:<16} {what}", highlight=False, markup=False))
        if not as_json:
            _show(name, tables.rows(name, results[name]))
        if write_readme:
            figures.store({name: figures.measured(name, results[name], load_average)})
    if as_json:
        typer.echo(json.dumps(results[figure] if figure else results))
    if write_readme:
        figures.write_readme()
        figures.write_guide()


def _measures(runs: int | None, load: Load, seconds: float) -> dict[str, Callable[[Progress], dict[str, Any]]]:
    from pipeline.benchmarks import (
        alerting,
        context,
        escalation,
        intake,
        latency,
        memory,
        overhead,
        ranking,
        replay,
        serving,
        simulation,
        startup,
    )
    from pipeline.benchmarks.hospital_day import Day

    return {
        Figure.CONTEXT: lambda progress: context.measure(load, runs or 1, progress),
        Figure.OVERHEAD: lambda progress: overhead.measure(load, runs or 5, progress),
        Figure.LATENCY: lambda progress: latency.measure(seconds, progress),
        Figure.INTAKE: lambda progress: intake.measure(MESSAGES, OBJECTS, progress),
        Figure.STARTUP: lambda progress: startup.measure(runs or 3, progress),
        Figure.MEMORY: lambda progress: memory.measure(STUDIES, progress),
        Figure.SIMULATION: lambda progress: simulation.measure(runs or 3, progress),
        Figure.ESCALATION: lambda progress: escalation.measure(escalation.Trial(), progress),
        Figure.RANKING: ranking.measure,
        Figure.REPLAY: lambda progress: replay.measure_replay(Day(replay.START), progress),
        Figure.RECORD: lambda progress: replay.measure_record(Day(replay.START, RECORDED), progress),
        Figure.ALERTING: lambda progress: alerting.measure(runs or 3, progress),
        Figure.SERVING: lambda progress: serving.measure(seconds, progress),
    }


def _show(name: str, rows: list[tuple[str, str, str]]) -> None:
    table = Table(title=name, show_header=False, title_justify="left")
    for _ in range(3):
        table.add_column()
    for row in rows:
        table.add_row(*row)
    Console().print(table)
