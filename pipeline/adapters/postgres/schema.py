"""Brings a database to the schema that this version needs, and says where it stands."""

from __future__ import annotations

from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING

import psycopg

from pipeline.errors import Unavailable

if TYPE_CHECKING:  # Alembic is imported where there is something to do, which is seldom: it takes half a second
    from alembic.config import Config

_alone = Lock()  # Alembic's context is one for the whole process


def alembic_config(dsn: str | None = None) -> Config:
    """Alembic's configuration, made in code: there is no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["dsn"] = dsn
    return config


def migrate(dsn: str, revision: str = "head") -> None:
    """Upgrades to `revision`. Several processes may call it at once. Raises Unavailable."""
    if revision == "head" and current_revision(dsn) == head_revision():
        return
    from alembic import command
    from sqlalchemy import exc

    try:
        with _alone:
            command.upgrade(alembic_config(dsn), revision)
    except exc.OperationalError as error:
        raise Unavailable(f"Postgres: {type(error.orig).__name__}") from error


def downgrade(dsn: str, revision: str) -> None:
    """Goes back to `revision`, "base" being an empty database; data that the older schema has no place for is lost."""
    from alembic import command

    with _alone:
        command.downgrade(alembic_config(dsn), revision)


def revisions() -> list[str]:
    """All, oldest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]


def head_revision() -> str:
    """What this version needs: the number of the last migration, by the files' names."""
    return max(file.name for file in (files("migrations") / "versions").iterdir() if file.name[0].isdigit()).partition("_")[0]


def current_revision(dsn: str) -> str | None:
    """Where the database stands; None: it has no Readfirst schema. Raises Unavailable."""
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            if connection.execute("select to_regclass('public.alembic_version')").fetchone() == (None,):
                return None
            row = connection.execute("select version_num from alembic_version").fetchone()
            return row[0] if row else None
    except psycopg.OperationalError as error:
        raise Unavailable(f"Postgres: {type(error).__name__}") from error
