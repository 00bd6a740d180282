"""The connection pool, and psycopg's errors told in our own words."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.errors import Unavailable
from pipeline.settings import Postgres

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECT_TIMEOUT_S = 5.0
TRUST_S = 1.0
_SESSION = {
    "TimeZone": "UTC",
    # a worker that hangs between begin and commit must not hold its partition for ever
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "15s",
    "statement_timeout": "60s",
}
CONNECT: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": int(CONNECT_TIMEOUT_S),
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """A server that is away, restarting, deadlocked or too slow becomes Unavailable; errors in our SQL or data stay what they are."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed) as error:
        raise Unavailable(f"Postgres: {type(error).__name__}") from error


class Database:
    """A pool that belongs to one event loop. Open it before use, close it in the end; it mends itself when the server comes back."""

    def __init__(self, dsn: str, max_size: int = 8) -> None:
        self.dsn = dsn
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=max_size,
            open=False,
            timeout=CONNECT_TIMEOUT_S,
            reconnect_timeout=CONNECT_TIMEOUT_S,
            kwargs=CONNECT,
            configure=_configure,
            check=self._check,
        )
        self._used: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    @classmethod
    def from_settings(cls, settings: Postgres) -> Database:
        """Not opened yet."""
        return cls(settings.dsn.get_secret_value(), settings.pool_max)

    async def open(self) -> None:
        """Does not wait for the server: whoever needs it and does not get it is told Unavailable."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Waits for nothing."""
        await self._pool.close(timeout=1.0)

    async def __aenter__(self) -> Database:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ping(self) -> None:
        """Raises Unavailable where the server does not answer."""
        async with self.connection() as connection:
            await connection.execute("select 1")

    def stats(self) -> dict[str, int]:
        """The pool's own figures."""
        return self._pool.get_stats()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. Raises Unavailable."""
        async with translated(), self._pool.connection() as connection:
            with METRICS.timed("readfirst_database_seconds"):
                yield connection
            self._used[connection] = monotonic()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that commits on a clean exit. Raises Unavailable, at commit too."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _check(self, connection: Connection) -> None:
        """One that served well a moment ago and on which nothing has come in since (a server that goes says so) is not asked whether it
        lives: that is one more way to the server and back for each transaction."""
        if monotonic() - self._used.get(connection, 0.0) > TRUST_S or _something_came(connection):
            await AsyncConnectionPool.check_connection(connection)


def _something_came(connection: Connection) -> bool:
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


async def _configure(connection: Connection) -> None:
    for name, value in _SESSION.items():
        await connection.execute("select set_config(%s, %s, false)", (name, value))
