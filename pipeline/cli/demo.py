"""`readfirst demo`: the stack, and a hospital that feeds it through the real protocols."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.adapters.local.stack import status
from pipeline.cli.running import folder, foreground_stack
from pipeline.settings import Settings
from pipeline.simulation import alerting
from pipeline.simulation.accounts import Accounts, reconciled
from pipeline.simulation.alerting import DemoAlerts, settled
from pipeline.simulation.feed import Feed
from pipeline.simulation.hospital import Hospital, Plan
from pipeline.simulation.messages import Outgoing
from pipeline.simulation.receivers import Arrived

SUMMARY = (
    "sent, applied, ignored, refused, dead_lettered, unaccounted, studies, ranked, model_scored, degraded, latency_ms; "
    "alerts where the demo hears them"
)
ONCE_SECONDS = 10.0
"""Real time that the bounded stream is spread over, before whatever the machine needs longer."""

ONCE_FACTOR = 450.0
"""How many times faster than life alerts escalate in the bounded demo: an hour's ladder in eight seconds."""


def register(app: typer.Typer) -> None:
    """Adds the command `demo`."""
    app.command(epilog="Example: readfirst demo     Example: readfirst demo --once --json")(demo)


def demo(
    data: Annotated[Path | None, typer.Option(help="folder that holds the stack's state")] = None,
    once: Annotated[bool, typer.Option("--once", help="a bounded stream: wait until all is ranked, print a summary, stop")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=f"with --once: one JSON object: {SUMMARY}")] = False,
    source: Annotated[Path | None, typer.Option(help="real data in place of the generated hospital: a folder as the README says")] = None,
    studies: Annotated[int, typer.Option(min=1, help="studies a simulated three hours")] = 60,
    factor: Annotated[float, typer.Option(min=1, help="how many times faster than life the endless demo runs")] = 30.0,
    seed: Annotated[int, typer.Option(help="another seed is another hospital")] = 1,
) -> None:
    """Starts everything and feeds it a believable hospital over C-STORE and MLLP, with late, corrected and repeated messages."""
    console = Console(stderr=True)
    if source is not None:  # before a stack is started for it
        from pipeline.simulation.recorded import radiographs

        radiographs(source)
    with _receivers(data, console, ONCE_FACTOR if once else factor, quiet=once) as alerts, foreground_stack(data, console) as settings:
        if once:
            summary = asyncio.run(_bounded(settings, console, source, studies, seed, alerts))
            print(json.dumps(summary) if as_json else _table(summary))
            for fault in (found := faults(summary)):
                console.print(f"failed: {fault}", highlight=False)
            if found:
                sys.exit(1)
            return
        console.print(f"\n  The worklist: [bold]http://{settings.web.host}:{settings.web.port}/[/bold]   (Ctrl-C stops everything)\n")
        try:
            asyncio.run(_endless(settings, source, studies, factor, seed))
        except KeyboardInterrupt:
            console.print("stopping")


def faults(summary: dict[str, Any]) -> list[str]:
    """What the bounded stream should have done and did not, in words."""
    unaccounted = [f"of {summary['unaccounted']} messages nobody knows what became of them"] if summary["unaccounted"] else []
    unranked = [] if summary["ranked"] else ["no study was ranked"]
    return [*unaccounted, *unranked, *(alerting.faults(summary["alerts"]) if "alerts" in summary else [])]


@contextmanager
def _receivers(data: Path | None, console: Console, factor: float, *, quiet: bool) -> Iterator[DemoAlerts | None]:
    """Where alerts arrive; none where the stack runs already or the site has rules of its own: those say who is told."""
    place = folder(data)
    if status(place).running or Settings().site_file is not None:
        yield None
        return

    def heard(message: Arrived) -> None:
        if not quiet:
            console.print(f"  {message.by:<8} to {message.role}: {message.subject}", highlight=False, markup=False)

    with DemoAlerts(place, factor, heard) as alerts:
        yield alerts


async def _bounded(
    settings: Settings, console: Console, source: Path | None, studies: int, seed: int, alerts: DemoAlerts | None
) -> dict[str, Any]:
    """Sends everything once, then waits until each event is accounted for. Raises StackError when that takes too long."""
    started = datetime.now(UTC)
    plan = Plan(studies=studies, observations=36, seed=seed)
    length = timedelta(hours=plan.hours)
    messages = _messages(source, plan, lambda at: started - length + at, started)
    async with Feed(settings) as feed:
        await feed.send(messages, speed=length.total_seconds() / ONCE_SECONDS)
        console.print(
            f"sent {sum(feed.sent.values())} messages in {(datetime.now(UTC) - started).total_seconds():.1f} s; waiting for the last rank"
        )
    async with Accounts(settings, started) as accounts:
        summary = await reconciled(accounts, feed, timeout_s=90)
    return summary if alerts is None else {**summary, "alerts": await settled(alerts, settings)}


async def _endless(settings: Settings, source: Path | None, studies: int, factor: float, seed: int) -> None:
    """Three simulated hours after another, from the present hour on. Real data comes again and again under other names."""
    hour = datetime.now(UTC).hour
    async with Feed(settings) as feed:
        while True:
            begun = datetime.now(UTC)
            plan = Plan(studies=studies, start_hour=hour, seed=seed)
            messages = _messages(source, plan, lambda at, begun=begun: begun + at / factor, begun)  # type: ignore[misc]
            await feed.send(messages, speed=factor)
            seed, hour = seed + 1, (hour + int(plan.hours)) % 24


def _messages(source: Path | None, plan: Plan, arrival: Callable[[timedelta], datetime], started: datetime) -> Iterator[Outgoing]:
    """The generated hospital, or the real data of `source`, whose last moment is `started`. Raises StackError where there is none."""
    run = f"{int(started.timestamp()) % 1_000_000:06d}"
    if source is None:
        return Hospital(plan, arrival, run).messages()
    from pipeline.simulation.recorded import recorded

    return recorded(source, started, run)


def _table(summary: dict[str, Any]) -> str:
    width = max(map(len, summary))
    return "\n".join(f"{name:<{width}}  {json.dumps(value) if isinstance(value, dict) else value}" for name, value in summary.items())
