"""The schema's history: every step can be taken up and down, on an empty and on a filled database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import timedelta
from multiprocessing import get_context

import psycopg
import pytest

from pipeline.adapters.identity.vault import PostgresVault
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.postgres.actions import PostgresActions
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.maintenance import maintain
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.adapters.postgres.schema import current_revision, downgrade, head_revision, migrate, revisions
from pipeline.adapters.postgres.study_ledger import PostgresStudyLedger
from pipeline.errors import Unavailable
from pipeline.ports import Identity, Ignored, Receipt, Step
from schemas.topics import ASSESSMENTS, LABS
from tests.store_fixtures import START, change, event_id, fact, item, place

CATALOGUE = """
select n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and c.relname not like 'alembic%'
order by 1, 2, a.attnum
"""
TABLES = """
select format('%I.%I', n.nspname, c.relname), c.oid
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
    and c.relname not like 'alembic%'
order by 1
"""
NEEDED = """
select attname, format_type(atttypid, null) from pg_attribute
where attrelid = %s and attnum > 0 and not attisdropped and attnotnull and not atthasdef and attidentity = '' and attgenerated = ''
"""
MADE_UP = {
    "state": "notified",
    "outcome": "purged",
    "jsonb": "{}",
    "bytea": "x",
    "date": "2026-03-01",
    "timestamp with time zone": "2026-03-01T12:00Z",
    "boolean": "true",
}
"""A value of the columns that take certain words only, and of each type that is no text and no number."""


def catalogue(dsn: str) -> list[tuple[object, ...]]:
    """Every table, index and sequence of ours with its columns."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(CATALOGUE).fetchall()


def row_counts(dsn: str) -> dict[str, int]:
    """Rows of each table."""
    with psycopg.connect(dsn) as connection:
        tables = [name for name, _ in connection.execute(TABLES).fetchall()]
        return {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}  # type: ignore


def fill_the_rest(dsn: str) -> None:
    """A made-up row in each table that no adapter has written to, those that others refer to first."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(3):
            empty = {name for name, rows in row_counts(dsn).items() if not rows}
            for name, oid in connection.execute(TABLES).fetchall():
                if name in empty:
                    columns = dict(connection.execute(NEEDED, (oid,)).fetchall())
                    values = [MADE_UP.get(column, MADE_UP.get(kind, "1")) for column, kind in columns.items()]
                    with suppress(psycopg.errors.ForeignKeyViolation):
                        connection.execute(
                            f"insert into {name} ({', '.join(columns)}) values ({', '.join(['%s'] * len(values))})",  # type: ignore
                            values,
                        )


async def fill(dsn: str) -> None:
    """At least one row in every table; where it can be, written by the adapters, with weekly partitions."""
    async with Database(dsn) as database:
        await maintain(database, START, timedelta(days=30))
        async with PostgresContextStore(database).begin("g", [place(LABS, 0)]) as batch:
            await batch.append([fact(1), fact(2, at=START.replace(year=1990))], [Ignored(event_id(3), "duplicate", "labs", 0, 3)])
            await batch.set_survivor("p1", "p2", START, event_id(4))
            await batch.advance({place(LABS, 0): 3})
        async with PostgresRankingStore(database).begin("g", [place(ASSESSMENTS, 0)]) as ranking:
            await ranking.store([change(item())])
        await PostgresActions(database).claim("1.2.3", "ada", START)
        await PostgresReceipts(database).close(Receipt("lis", "hl7", "1", "accepted", None, (event_id(1),), START))
        await PostgresStudyLedger(database).note_step(Step("1.2", "1.2.3", "p1", "CT1", "IN PROGRESS"), START)
        vault = PostgresVault(database, bytes(32), ManualClock())
        await vault.remember([Identity("p1", "1", "HOSP", "Doe^Jane")], {"n": "ACC1"})
        await vault.link("n", "p1")
        await vault.reveal(["p1"], "ada", "reading")
    fill_the_rest(dsn)


def test_a_new_database_has_no_revision(postgres: Callable[[], str]) -> None:
    """Doctor can tell an empty database from an old one; after migrating it stands at head."""
    dsn = postgres()
    assert current_revision(dsn) is None
    migrate(dsn)
    assert current_revision(dsn) == head_revision()
    migrate(dsn)
    assert current_revision(dsn) == head_revision()


def test_stairway(postgres: Callable[[], str]) -> None:
    """Each revision goes up, down and up again, and what is down leaves nothing of it behind."""
    dsn = postgres()
    below = "base"
    for revision in revisions():
        before = catalogue(dsn)
        migrate(dsn, revision)
        after = catalogue(dsn)
        downgrade(dsn, below)
        assert catalogue(dsn) == before
        migrate(dsn, revision)
        assert catalogue(dsn) == after
        below = revision


def test_a_filled_database_goes_down_and_up(migrated: Callable[[], str]) -> None:
    """Rows in every table, partitions too: the way down leaves nothing, the way up the present schema, and it can be filled again."""
    dsn = migrated()
    present = catalogue(dsn)
    asyncio.run(fill(dsn))
    assert all(row_counts(dsn).values())

    downgrade(dsn, "base")
    assert catalogue(dsn) == []
    migrate(dsn)
    assert catalogue(dsn) == present
    assert not any(row_counts(dsn).values())
    asyncio.run(fill(dsn))


def test_a_step_down_and_up_keeps_what_older_versions_know(migrated: Callable[[], str]) -> None:
    """Of a filled database each revision takes only what it brought; on the way up again the rows that were left are still there."""
    dsn = migrated()
    asyncio.run(fill(dsn))
    before = row_counts(dsn)
    below = [*revisions()][:-1]
    for revision in reversed(below):
        downgrade(dsn, revision)
        left = row_counts(dsn)
        assert left == {name: before[name] for name in left}
    migrate(dsn)
    again = row_counts(dsn)

    assert again == {name: before[name] if name in left else 0 for name in before}


def test_several_may_migrate_at_once(postgres: Callable[[], str]) -> None:
    """Every role may migrate when it starts: they wait for each other."""
    dsn = postgres()
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:  # Alembic's context is one for the process
        list(processes.map(migrate, [dsn] * 3))

    assert current_revision(dsn) == head_revision()


def test_a_failed_migration_leaves_nothing_behind(postgres: Callable[[], str]) -> None:
    """All revisions run in one transaction."""
    dsn = postgres()
    with psycopg.connect(dsn) as connection:
        connection.execute("create schema vault")
    before = catalogue(dsn)
    with pytest.raises(Exception, match="vault"):
        migrate(dsn)

    assert catalogue(dsn) == before
    assert current_revision(dsn) is None


def test_a_server_that_is_away() -> None:
    """Unavailable, soon, without the password in the message."""
    dsn = "postgresql://readfirst:secret@127.0.0.1:1/readfirst"
    for attempt in (migrate, current_revision):
        with pytest.raises(Unavailable) as raised:
            attempt(dsn)  # type: ignore[operator]
        assert "secret" not in str(raised.value)
