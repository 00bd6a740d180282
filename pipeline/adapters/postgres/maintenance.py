"""Keeps the stored facts bounded: makes the coming weeks' partitions, drops what has expired."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import structlog
from psycopg import errors, sql

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.errors import Unavailable
from pipeline.ports import Clock

log = structlog.get_logger()

_sql = Queries("maintenance")

WEEK = timedelta(days=7)
WEEKS_AHEAD = 4
EVERY = timedelta(hours=6)
RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one run did."""

    created: list[str]
    dropped: list[str]
    expired: dict[str, int]
    """table -> rows deleted"""


def week_of(moment: datetime) -> date:
    """Its Monday, UTC."""
    day = moment.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


def partition_name(monday: date) -> str:
    """By ISO 8601 week."""
    year, week, _ = monday.isocalendar()
    return f"fact_{year}w{week:02d}"


async def maintain(database: Database, now: datetime, keep: timedelta) -> Maintained:
    """Run it daily, from any number of processes: one works, the others wait. Facts, receipts and closed studies older than `keep` go.

    The audit of the vault stays. A fact outside all weeks rests in the default partition until its week is made.
    """
    oldest = now - keep
    async with database.transaction() as connection:
        await connection.execute(_sql.lock)
        present = await _partitions(connection)
        created = [name for monday in _weeks(now) if (name := partition_name(monday)) not in present and await _create(connection, monday)]
        expired = {}
        for table in ("fact_default", "ignored", "receipt", "worklist_item", "alert", "alert_dispatch", "study", "step", "shadow_score"):
            cursor = await connection.execute(getattr(_sql, f"expire_{table}"), {"oldest": oldest})
            expired[table] = cursor.rowcount
        # last, since a drop locks the whole table until commit
        dropped = [name for name, end in present.items() if end <= oldest and await _drop(connection, name)]
    return Maintained(created, dropped, expired)


async def keep_maintained(database: Database, clock: Clock, keep: timedelta) -> None:
    """Runs `maintain` now and every few hours, until cancelled; a failed run is told and tried again."""
    while True:
        try:
            done = await maintain(database, clock.now(), keep)
            log.info("facts_maintained", created=len(done.created), dropped=len(done.dropped), expired=sum(done.expired.values()))
            pause = EVERY
        except (Unavailable, psycopg.Error) as error:
            log.warning("maintenance_failed", error=str(error))
            pause = RETRY
        await asyncio.sleep(pause.total_seconds())


def _weeks(now: datetime) -> list[date]:
    first = week_of(now)
    return [first + ahead * WEEK for ahead in range(-1, WEEKS_AHEAD + 1)]


async def _partitions(connection: Connection) -> dict[str, datetime]:
    """name -> the moment where it ends."""
    rows = await (await connection.execute(_sql.partitions)).fetchall()
    return {name: _start(name) + WEEK for (name,) in rows}


def _start(name: str) -> datetime:
    year, _, week = name.removeprefix("fact_").partition("w")
    return datetime.combine(date.fromisocalendar(int(year), int(week), 1), datetime.min.time(), UTC)


async def _create(connection: Connection, monday: date) -> bool:
    """Rows of this week that had to go to the default partition move over."""
    name = sql.Identifier(partition_name(monday))
    start, end = sql.Literal(_start(partition_name(monday))), sql.Literal(_start(partition_name(monday)) + WEEK)
    for statement in (_sql.create_week, _sql.move_week, _sql.attach_week):
        await connection.execute(sql.SQL(statement).format(name=name, start=start, end=end))
    return True


async def _drop(connection: Connection, name: str) -> bool:
    """False when readers hold it for too long: the next run tries again."""
    try:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '2s'")
            await connection.execute(sql.SQL(_sql.drop_week).format(name=sql.Identifier(name)))
    except errors.LockNotAvailable:
        return False
    return True
