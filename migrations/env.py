"""Runs the migrations on the database given in `config.attributes["dsn"]`, one process at a time."""

from __future__ import annotations

import psycopg
from alembic import context
from sqlalchemy import create_engine, pool, text

MIGRATION_LOCK = 0x72656164  # any fixed number: concurrent starts wait for each other


def run() -> None:
    """All revisions in one transaction: a failed migration leaves nothing behind."""
    dsn: str = context.config.attributes["dsn"]
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            context.run_migrations()
    engine.dispose()


run()
