"""`readfirst worklist` and `explain`: the list and one item's reasons, without names: those are for readers of the page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.adapters.site.file import load
from pipeline.cli.running import running_settings
from pipeline.domain import adjustments
from pipeline.domain.site import DEFAULT, SubList
from pipeline.ports import ListedItem, ListQuery, RankChange
from pipeline.settings import Settings
from schemas.worklist import Reason

if TYPE_CHECKING:
    from pipeline.services.attribution import Attribution

Data = Annotated[Path | None, typer.Option(help="the data folder of the running stack")]
ROW = "study_uid, due_at, modality, body_part, location, why, state, claimed_by, provisional, degraded"
"""The keys of a study as JSON."""
SHOWN = 12
"""Last characters of a UID that the table shows: they tell studies apart, the beginning only tells whose they are."""
ENDING_MIN = 6
MOVED = 0.0005
"""From here on a change rounds to 0.1 points."""
Result = TypeVar("Result")


def register(app: typer.Typer) -> None:
    """Adds `worklist` and `explain`."""
    app.command(epilog="Example: readfirst worklist --modality CT --json | jq .why")(worklist)
    app.command(epilog="Example: readfirst explain 949960288")(explain)


def worklist(
    data: Data = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="the first so many")] = 50,
    modality: Annotated[str | None, typer.Option(help="only this modality, as CT or DX")] = None,
    part: Annotated[str | None, typer.Option("--list", help="one of the site's sub-lists, as neuro (`readfirst site show`)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=f"one JSON object a line: rank, {ROW}")] = False,
) -> None:
    """Shows the open studies, most urgent first."""
    query = ListQuery(limit=limit, modality=modality, part=_part(part))
    page = _read(running_settings(data), lambda reader: reader.page(query))
    if as_json:
        for rank, listed in enumerate(page.items, 1):
            typer.echo(msgspec.json.encode({"rank": rank, **row(listed)}).decode())
        return
    table = Table("#", "due", "study", "what", "where", "why", "state", box=None)
    now = datetime.now(UTC)
    for rank, listed in enumerate(page.items, 1):
        study = listed.item.study
        what = " ".join(part for part in (study.modality, study.body_part) if part)
        left, place = _left(listed.item.due_at - now), study.location or ""
        table.add_row(str(rank), left, f"…{study.study_uid[-SHOWN:]}", what, place, listed.item.why, state(listed, now))
    Console().print(table if page.items else "No open studies.")
    if page.next:
        typer.echo(f"more follow; the list shows the first {limit} (--limit)")


def explain(
    study: Annotated[str, typer.Argument(help="Study Instance UID, or how it ends, as the list shows it")],
    data: Data = None,
    readings: Annotated[bool, typer.Option("--readings", help="also how much each single reading moved the risk")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help=f"{ROW}, target_at, reasons, risk, missing, history, and readings if asked")
    ] = False,
) -> None:
    """Tells why a study stands where it stands: each reason with the minutes it moves the deadline, and what would move it back."""
    settings = running_settings(data)

    async def both(reader: PostgresWorklist) -> tuple[ListedItem, list[RankChange]]:
        uid = await whole_uid(reader, study.removeprefix("…"))
        return await reader.get(uid), await reader.history(uid, limit=10)

    listed, history = _read(settings, both)
    item = listed.item
    moved = _moved(settings, item.study.study_uid) if readings else None
    if as_json:
        more = {"target_at": item.target_at, "reasons": item.reasons, "risk": item.risk, "missing": item.missing, "history": history}
        more |= {"readings": moved} if moved else {}
        typer.echo(msgspec.json.encode({**row(listed), **more}).decode())
        return
    console = Console()
    console.print(f"[bold]{item.study.modality or ''} {item.study.description or ''}[/bold]  {item.study.study_uid}", highlight=False)
    console.print(f"due {item.due_at:%Y-%m-%d %H:%M}Z, by the order alone {item.target_at:%Y-%m-%d %H:%M}Z", highlight=False)
    table = Table("reason", "when", "moves the deadline", "goes back when", box=None)
    for reason in sorted(item.reasons, key=lambda each: -each.minutes):
        table.add_row(*_reason(reason))
    if item.policy:
        console.print(f"by the site's rules {item.policy}", highlight=False)
    console.print(table)
    if item.missing:
        console.print(f"not known: {', '.join(item.missing)}", highlight=False)
    if moved:
        _show_readings(console, moved)
    for change in history:
        console.print(f"{change.at:%H:%M:%S}Z  due {change.due_at:%H:%M}Z  {change.cause}", highlight=False)


def _part(name: str | None) -> SubList | None:
    """By the site file of the settings, or the defaults."""
    if name is None:
        return None
    file = Settings().site_file
    policy = load(file).policy if file else DEFAULT
    if (found := policy.sub_list(name)) is None:
        raise typer.BadParameter(f"{name!r} is no list of this site; there are: {', '.join(one.name for one in policy.lists)}")
    return found


def state(listed: ListedItem, now: datetime) -> str:
    """Set aside, claimed or provisional, in words; empty where there is nothing to say."""
    if adjustments.set_aside(listed.item, now) and listed.item.adjustment and (held := listed.item.adjustment.hold):
        return f"{'set aside' if held.paused else 'put off'} until {held.until:%H:%M}Z: {held.words}"
    return f"claimed by {listed.claimed_by}" if listed.claimed_by else ("provisional" if listed.item.provisional else "")


async def whole_uid(reader: PostgresWorklist, ending: str) -> str:
    """The open study whose UID ends so; the text itself where no open study, or more than one, does."""
    found: list[str] = []
    query = ListQuery(limit=500)
    while len(ending) >= ENDING_MIN:
        page = await reader.page(query)
        found += [item.item.study.study_uid for item in page.items if item.item.study.study_uid.endswith(ending)]
        if page.next is None:
            break
        query = ListQuery(limit=500, after=page.next)
    return found[0] if len(found) == 1 else ending


def _read(settings: Settings, ask: Callable[[PostgresWorklist], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with Database.from_settings(settings.postgres) as database:
            reader = PostgresWorklist(database)
            try:
                return await ask(reader)
            finally:
                await reader.close()

    return asyncio.run(run())


def row(listed: ListedItem) -> dict[str, object]:
    """A study as JSON."""
    item = listed.item
    return {
        "study_uid": item.study.study_uid,
        "due_at": item.due_at,
        "modality": item.study.modality,
        "body_part": item.study.body_part,
        "location": item.study.location,
        "why": item.why,
        "state": item.state,
        "claimed_by": listed.claimed_by,
        "provisional": item.provisional,
        "degraded": item.degraded,
    }


def _reason(reason: Reason) -> tuple[str, str, str, str]:
    evidence = reason.evidence
    minutes = round(abs(reason.minutes))
    moved = f"{minutes} min {'sooner' if reason.minutes > 0 else 'later'}" if minutes else "–"
    when = evidence.when or (f"{evidence.at:%H:%M}Z" if evidence.at else "")
    return f"{evidence.label}{'  (sets the deadline)' if reason.binding else ''}", when, moved, evidence.reverts_when or ""


def _moved(settings: Settings, study_uid: str) -> dict[str, Any]:
    """How much single readings moved the risk, as the API tells it, by the versions on this machine."""
    # Imported here: they bring the model, for which who does not ask need not wait.
    from pipeline import bootstrap
    from pipeline.worklist.attribution import told

    async def work_out(reader: PostgresWorklist) -> Attribution:
        async with bootstrap.attribution(settings, reader, film_within_s=180.0) as attribution:
            return await attribution.of_study(study_uid)

    return told(_read(settings, work_out))


def _show_readings(console: Console, moved: dict[str, Any]) -> None:
    if moved["why_not"]:
        console.print(f"single readings: {moved['why_not']}", highlight=False)
        return
    film = ", with the chest film that it looked at" if moved["film"] else ""
    newer = f"; {moved['newer']} values came since" if moved["newer"] else ""
    console.print(f"risk {moved['probability']:.1%}, by what was known at {moved['as_of']:%Y-%m-%d %H:%M}Z{film}{newer}", highlight=False)
    table = Table("left out alone (they need not add up)", "when", Column("points", justify="right"), box=None)
    shown = [reading for reading in moved["readings"] if abs(reading["change"]) >= MOVED]
    for reading in shown:
        table.add_row(*_reading(reading))
    console.print(table if shown else "no single reading moved it by 0.1 points", highlight=False)
    if rest := len(moved["readings"]) - len(shown):
        console.print(f"readings that moved it by less than 0.1 points: {rest}", highlight=False)


def _reading(reading: dict[str, Any]) -> tuple[str, str, str]:
    points, older, label = f"{reading['change'] * 100:+.1f}", reading["older"], reading["label"]
    if older:
        values = f"{older['low']:g} to {older['high']:g} {reading['unit']}".rstrip()
        return f"{label} {values}, {older['count']} older together", f"since {older['since']:%d %b %H:%M}Z", points
    when = reading["when"] or f"{reading['at']:%d %b %H:%M}Z"
    return f"{label} {reading['value']:g} {reading['unit']}".rstrip(), when, points


def _left(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"in {minutes} min" if minutes >= 0 else f"over by {-minutes} min"
