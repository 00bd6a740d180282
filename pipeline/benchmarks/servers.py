"""Real servers for a measurement: the local stack on a folder of its own, with fresh topics and a fresh database."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr

from pipeline.adapters.kafka import topics
from pipeline.adapters.local.network import reserved
from pipeline.adapters.local.stack import Stack
from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.local.table import ROLES, SERVERS, STEPS
from pipeline.adapters.postgres.schema import migrate
from pipeline.settings import Kafka, Settings


@contextmanager
def folder() -> Iterator[Path]:
    """A data folder that is gone afterwards. Postgres, run by another user when we are root, must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="readfirst-bench-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        place.chmod(0o711)
        yield place / "data"


def elsewhere() -> Settings:
    """Settings on ports that nobody expects anything on, so that a stack in use is left alone."""
    settings = Settings()
    with reserved(7) as ports:  # given back before the stack takes them: should another be quicker, it moves on
        kafka, postgres, triton, dicom, mllp, http, web = ports
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{kafka}"}),
            "postgres": settings.postgres.model_copy(update={"dsn": SecretStr(f"postgresql://readfirst@127.0.0.1:{postgres}/readfirst")}),
            "triton": settings.triton.model_copy(update={"url": f"127.0.0.1:{triton}"}),
            "gateways": settings.gateways.model_copy(update={"dicom_port": dicom, "mllp_port": mllp, "http_port": http}),
            "web": settings.web.model_copy(update={"port": web}),
        }
    )


@contextmanager
def stack(
    data: Path, progress: Progress, roles: Sequence[str] = ROLES, servers: Sequence[str] = SERVERS, steps: Sequence[str] = STEPS
) -> Iterator[Settings]:
    """The local stack, or a part of it, for the time of the block."""
    running = Stack(data, roles, servers=servers, steps=steps, settings=elsewhere(), build_models=_build_models)
    running.start(progress)
    try:
        yield running.addresses()
    finally:
        running.stop()


def _build_models(target: Path) -> None:
    from pipeline.models.serving import build_repository

    build_repository(target, "cpu")


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one run takes place: topics and a database that nobody has used."""

    settings: Settings

    @property
    def kafka(self) -> Kafka:
        """The broker and the topics' prefix."""
        return self.settings.kafka

    @property
    def dsn(self) -> str:
        """The database."""
        return self.settings.postgres.dsn.get_secret_value()


def fresh_ground(settings: Settings) -> Ground:
    """Makes the topics and the database, with today's schema."""
    name = f"bench_{secrets.token_hex(4)}"
    dsn = settings.postgres.dsn.get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    own = dsn.rpartition("/")[0] + "/" + name
    migrate(own)
    kafka = settings.kafka.model_copy(update={"topic_prefix": f"{name}."})
    topics.create(kafka)
    postgres = settings.postgres.model_copy(update={"dsn": SecretStr(own)})
    return Ground(settings.model_copy(update={"kafka": kafka, "postgres": postgres}))
