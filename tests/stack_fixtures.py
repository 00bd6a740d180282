"""Session fixtures that start the real servers, one of each per test run: `kafka`, `postgres`, `triton_server`.

One broker and one cluster serve all tests: use unique topic and group names, and a fresh database each.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg import sql

from pipeline.adapters.local import triton_environment
from pipeline.adapters.local.kafka import KafkaServer
from pipeline.adapters.local.network import reserved
from pipeline.adapters.local.postgres import PostgresServer
from pipeline.adapters.local.process import Child, Launch, wait_until_ready
from pipeline.adapters.local.triton import ModelBuilder, TritonPorts, TritonServer
from pipeline.adapters.local.triton_environment import TritonUnavailable


class _Server(Protocol):
    name: str

    def prepare(self, progress: Callable[[str, str], None]) -> None: ...
    def launch(self) -> Launch: ...
    def ready(self) -> bool: ...


class DatabaseFactory(Protocol):
    """Makes a fresh database, a copy of the database `template` if one is named, and returns its DSN."""

    def __call__(self, template: str | None = None) -> str: ...


@contextmanager
def running(server: _Server) -> Iterator[Child]:
    """The server while the block runs; it ends with the test run, even with `kill -9`."""
    server.prepare(lambda part, what: None)
    child = Child(server.launch())
    try:
        wait_until_ready(child, server.ready, server.name, 240)
        yield child
    finally:
        child.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a real broker."""
    folder = tmp_path_factory.mktemp("kafka")
    with reserved(2) as (port, controller_port):
        server = KafkaServer(folder, port, controller_port, folder / "kafka.log")
        with running(server):
            yield server.bootstrap_servers


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseFactory]:
    """A function that makes a fresh database and returns its DSN: `postgres()`, or `postgres("template")`."""
    folder = tmp_path_factory.mktemp("postgres")
    with reserved(1) as (port,):
        server = PostgresServer(folder, port, folder / "postgres.log", durable=False)

        def fresh(template: str | None = None) -> str:
            name = f"test_{secrets.token_hex(6)}"
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template or "template0"))
            with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
                connection.execute(statement)
            return server.dsn(name)

        with running(server):
            yield fresh


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gRPC address of a real Triton that serves the product's own models; skips where Triton does not exist for this machine."""
    from pipeline.models.serving import build_repository

    folder = tmp_path_factory.mktemp("triton")
    with serving(folder, lambda target: build_repository(target, "cpu")) as server:
        yield server.url


@contextmanager
def serving(folder: Path, build: ModelBuilder) -> Iterator[TritonServer]:
    """A real Triton over the repository that `build` makes; skips where there is none for this machine."""
    try:
        triton_environment.check_platform()
    except TritonUnavailable as reason:
        pytest.skip(str(reason))
    with reserved(3) as ports:
        server = TritonServer(folder / "models", TritonPorts(*ports), folder / "triton.log", build)
        with running(server):
            yield server
