"""`readfirst record`, `replay` and `diff`: event logs in, rankings out, and what moved between two of them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.errors import StackError

if TYPE_CHECKING:
    from pipeline.replay.comparison import Comparison, FirstDifference
    from pipeline.replay.log_file import LogReader
    from pipeline.replay.saved import Summary

AsJson = Annotated[bool, typer.Option("--json", help="JSON in place of text")]
Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
Times = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]
Site = Annotated[Path | None, typer.Option("--policy", help="a site file; without one the defaults")]
Salvage = Annotated[bool, typer.Option(help="reads a damaged log up to its last good chunk")]
AnyModel = Annotated[bool, typer.Option(help="scores with the model that is here though another one scored live")]


class Scores(StrEnum):
    """Whose scores count."""

    MODEL = "model"
    RECORDED = "recorded"
    RULES = "rules"


def register(app: typer.Typer) -> None:
    """Adds `record`, `replay` and `diff`."""
    app.command(epilog="Example: readfirst record --out night.rfl --from 2026-03-01T18:00")(record)
    app.command(epilog="Example: readfirst replay night.rfl --json     Example: readfirst replay night.rfl --speed 60 --live")(replay)
    app.command(epilog="Example: readfirst diff night.rfl night.rfl --policy-b site.yaml --html diff.html")(diff)


def record(
    out: Annotated[Path | None, typer.Option(help="the log; without one readfirst-<time>.rfl here")] = None,
    data: Data = None,
    topic: Annotated[list[str] | None, typer.Option("--topics", help="only this topic; may be given several times")] = None,
    begin: Annotated[datetime | None, typer.Option("--from", formats=Times, help="UTC, by Kafka's time of a record")] = None,
    until: Annotated[datetime | None, typer.Option(formats=Times, help="UTC")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="goes on until Ctrl-C")] = False,
    append: Annotated[bool, typer.Option("--append", help="goes on where the log ends")] = False,
    scrub: Annotated[Path | None, typer.Option(help="no recording: a copy of this log with new pseudonyms and dates, fit to leave")] = None,
    as_json: AsJson = False,
) -> None:
    """Records what came in, and what was answered to it, from the running stack: pseudonyms only, as they stand in Kafka."""
    from pipeline.adapters.onnx.registry import HeadRegistry
    from pipeline.adapters.site.file import load
    from pipeline.cli.running import running_settings
    from pipeline.domain.site import DEFAULT
    from pipeline.replay import recording

    path = out or Path(f"readfirst-{datetime.now(UTC):%Y%m%d-%H%M%S}.rfl")
    if path.exists() and not append:
        raise StackError(f"{path} exists", "add to it with --append, or name another file with --out")
    if scrub is not None:
        _scrub(scrub, path, as_json)
        return
    settings = running_settings(data)
    topics = recording.topics_named(topic) if topic else recording.TOPICS
    wanted = recording.Wanted(topics, _utc(begin), _utc(until), follow)
    policy = (load(settings.site_file).policy if settings.site_file else DEFAULT).version
    started = time.monotonic()
    with _stopping() as stopping, _bar("recording") as step:
        done = recording.record(
            settings.kafka,
            path,
            wanted,
            policy,
            HeadRegistry(settings.models_dir).scopes(),
            append=append,
            stopping=stopping,
            progress=step,
        )
    seconds, size = time.monotonic() - started, path.stat().st_size
    told = {
        "log": str(path),
        "records": done.records,
        "topics": done.topics,
        "bytes": size,
        "json_bytes": done.json_bytes,
        "missed": done.missed,
        "records_per_s": round(done.records / max(seconds, 1e-9)),
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    share = f", {size / done.json_bytes:.0%} of its JSON" if done.json_bytes else ""
    typer.echo(f"{path}: {done.records:,} records of {len(done.topics)} topics, {size:,} bytes{share}")
    if done.missed:
        typer.echo(f"  {done.missed:,} records are missing between the old end and the new: retention had removed them")


def _scrub(log: Path, path: Path, as_json: bool) -> None:
    from pipeline.replay import running, scrub

    done = scrub.scrub(running.opened(log, salvage=False), path)
    if as_json:
        typer.echo(json.dumps({"log": str(path), "records": done.records, "left_out": done.left_out, "bytes": path.stat().st_size}))
    else:
        typer.echo(f"{path}: {done.records:,} records under new pseudonyms and dates; {done.left_out:,} left out (answers, unreadable)")


def replay(
    log: Annotated[Path, typer.Argument(help="an event log (.rfl)")],
    speed: Annotated[str, typer.Option(help='"max", or how many times faster than life')] = "max",
    until: Annotated[datetime | None, typer.Option(formats=Times, help="UTC: no record later than that")] = None,
    scorer: Annotated[Scores, typer.Option(help="the model that is here, the scores in the log, or the rules alone")] = Scores.MODEL,
    site: Site = None,
    out: Annotated[Path | None, typer.Option(help="keeps the ranking's history, for `readfirst diff`")] = None,
    from_state: Annotated[Path | None, typer.Option(help="goes on where --save-state of an earlier replay stopped")] = None,
    save_state: Annotated[Path | None, typer.Option(help="writes what a later replay needs to go on from here")] = None,
    live: Annotated[bool, typer.Option("--live", help="into the running stack, through Kafka, instead of memory")] = False,
    data: Data = None,
    any_model: AnyModel = False,
    salvage: Salvage = False,
    as_json: AsJson = False,
) -> None:
    """Takes a log through the live stages on stores in memory: the list, its history, and one digest of both."""
    from pipeline.adapters.local.loop import calm_collector
    from pipeline.adapters.telemetry.logging import configure
    from pipeline.replay import running, saved

    configure("console", "error")
    calm_collector()
    choice = running.Choice(scorer.value, site, _utc(until), any_model, salvage)
    reader = running.opened(log, salvage)
    console = Console(stderr=True)
    if reader.damage is not None:
        console.print(f"[yellow]damaged:[/yellow] {reader.damage}", highlight=False, soft_wrap=True)
    if live:
        _feed(reader, data, _utc(until), _speed(speed), as_json)
        return
    writer = saved.SavedWriter(out) if out else None
    started, cpu = time.monotonic(), time.process_time()
    with _bar("replaying") as step:
        done = running.played(
            reader,
            choice,
            keep_history=False,
            on_move=writer.add if writer else None,
            speed=_speed(speed),
            progress=step,
            from_state=from_state,
            save_state=save_state,
            escalate=out is not None,
        )
    seconds, busy = time.monotonic() - started, time.process_time() - cpu
    found = saved.summary(done, log.name, choice.policy.version, scorer.value)
    if writer:
        writer.finish(found)
    told = {
        **_plain(found),
        "escalations": len(found.escalations) if out else None,
        "seconds": round(seconds, 3),
        "cpu_s": round(busy, 3),
        "events_per_s": round(done.events / max(seconds, 1e-9)),
    }
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _show(told, reader.header.policy)


def _feed(log: LogReader, data: Path | None, until: datetime | None, speed: float | None, as_json: bool) -> None:
    from pipeline.cli.running import running_settings
    from pipeline.replay import running

    settings, started = running_settings(data), time.monotonic()
    with _bar("sending") as step:
        sent = running.fed(log, settings, until, speed, step)
    rate = round(sent / max(time.monotonic() - started, 1e-9))
    if as_json:
        typer.echo(json.dumps({"log": log.path.name, "sent": sent, "events_per_s": rate}))
    else:
        typer.echo(f"{sent:,} records are in Kafka ({rate:,}/s); `readfirst lag` says when they are ranked")


def diff(
    a: Annotated[Path, typer.Argument(help="an event log, or a result of `replay --out`")],
    b: Annotated[Path, typer.Argument(help="the other one; may be the same log")],
    policy_a: Annotated[Path | None, typer.Option(help="a site file for A")] = None,
    policy_b: Annotated[Path | None, typer.Option(help="a site file for B")] = None,
    scorer_a: Annotated[Scores | None, typer.Option(help="scores of A, where they differ from --scorer")] = None,
    scorer_b: Annotated[Scores | None, typer.Option(help="scores of B")] = None,
    scorer: Annotated[Scores, typer.Option(help="scores of both")] = Scores.MODEL,
    until: Annotated[datetime | None, typer.Option(formats=Times, help="UTC: no record later than that")] = None,
    bisect: Annotated[bool, typer.Option("--bisect", help="finds the first event after which the histories differ")] = False,
    html: Annotated[Path | None, typer.Option(help="writes a page with a plot")] = None,
    limit: Annotated[int, typer.Option(min=1, help="the table shows so many studies")] = 30,
    any_model: AnyModel = False,
    salvage: Salvage = False,
    as_json: AsJson = False,
) -> None:
    """Says which studies moved between two replays, by how many places and minutes, when, and because of what. Exit code 1: they differ."""
    import msgspec

    from pipeline.adapters.telemetry.logging import configure
    from pipeline.replay import comparison, comparison_page, running

    configure("console", "error")
    sides = []
    for path, site, own in ((a, policy_a, scorer_a), (b, policy_b, scorer_b)):
        with _bar(f"replaying {path.name}") as step:
            sides.append(running.result(path, running.Choice((own or scorer).value, site, _utc(until), any_model, salvage), step))
    found = comparison.compare(*sides)
    first = comparison.first_difference(*sides) if bisect or html else None
    if html:
        _write(html, comparison_page.page(found, first))
    if as_json:
        plain = msgspec.to_builtins(found) | ({"first": msgspec.to_builtins(first)} if bisect else {})
        typer.echo(json.dumps(plain))
    else:
        _show_difference(found, first if bisect else None, limit)
    raise typer.Exit(0 if found.same else 1)


def _show_difference(found: Comparison, first: FirstDifference | None, limit: int) -> None:
    from pipeline.replay.comparison_page import clock, verdict, where

    console = Console()
    console.print(verdict(found), highlight=False, soft_wrap=True)
    if first is not None:
        console.print(where(first), highlight=False, soft_wrap=True)
    if found.same:
        return
    classes = Table("order", "studies", "earlier in B", "later in B", "mean min", box=None)
    for one in found.classes:
        classes.add_row(one.group, f"{one.studies:,}", f"{one.earlier:,}", f"{one.later:,}", f"{one.mean_minutes:+.1f}")
    console.print(classes)
    moved = Table("study", "what", "at", "min", "places", "because of", "why in A", "why in B", box=None)
    for study in found.moved[:limit]:
        minutes = study.listed if study.minutes is None else f"{study.minutes:+.1f}"
        places = "" if study.places is None else f"{study.places:+d}"
        row = (f"…{study.study[-12:]}", study.what, clock(study.at), minutes, places, study.cause, study.why_a, study.why_b)
        moved.add_row(*row)
    console.print(moved)
    if len(found.moved) > limit:
        console.print(f"and {len(found.moved) - limit:,} more (--limit)", highlight=False)
    for name, steps in (("gained", found.gained), ("lost", found.lost)):
        for uid in dict(steps):
            mine = ", ".join(step for other, step in steps if other == uid)
            console.print(f"escalations {name}, …{uid[-12:]}: {mine}", highlight=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise StackError(f"{path} cannot be written: {error.strerror}", "choose another file") from error
    Console(stderr=True).print(f"written: {path}", highlight=False)


def _plain(found: Summary) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _show(told: dict[str, Any], policy: str) -> None:
    table = Table(show_header=False, box=None)
    dropped = {**told["ignored"], **told["dead_lettered"]}
    rows = {
        "log": told["log"],
        "events": f"{told['events']:,} ({told['applied']:,} applied" + "".join(f", {n:,} {why}" for why, n in dropped.items()) + ")",
        "speed": f"{told['events_per_s']:,} events/s, {told['seconds']:.1f} s",
        "rules": told["policy"] + ("" if policy in ("", told["policy"]) else f" (live: {policy})"),
        "scores": told["scorer"],
        "the list": f"{told['open']:,} open, after {told['moves']:,} changes",
        "digest": told["digest"],
        "of the list": told["state_digest"],
        "by rules": told["rules_digest"],
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console().print(table, highlight=False, soft_wrap=True)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise typer.BadParameter("--speed is max, or a number above 0")
    return speed


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None else at.replace(tzinfo=UTC)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM end the recording in good order."""
    told: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
