"""One LISTEN connection a process, fanned out to everyone who watches the list; it reconnects by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import structlog

from pipeline.adapters.postgres.database import CONNECT
from pipeline.adapters.postgres.queries import Queries

log = structlog.get_logger()
_sql = Queries("worklist")

PROBE_S = 15.0
"""How long a silent connection is trusted before it is asked whether it still lives, seconds."""
RETRY_S = (0.2, 0.5, 1.0, 2.0)


class ChangeFeed:
    """Starts listening with the first watcher. `close` ends it and every watcher's loop."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._task: asyncio.Task[None] | None = None
        self._newest: int | None = None
        self._moved = asyncio.Event()
        self._closed = False

    async def watch(self, since: int | None) -> AsyncIterator[int]:
        """As WorklistReader.changes."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._listen(), name="worklist-changes")
        told = since
        while not self._closed:
            moved = self._moved
            if self._newest is not None and told is None:
                told = self._newest
            if self._newest is not None and told is not None and self._newest > told:
                told = self._newest
                yield told
            else:
                await moved.wait()

    async def close(self) -> None:
        """Ends the connection."""
        self._closed = True
        self._wake()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _reached(self, seq: int) -> None:
        if self._newest is None or seq > self._newest:
            self._newest = seq
            self._wake()

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async for seq in self._sequence():
                    failures = 0
                    self._reached(seq)
            except (psycopg.Error, OSError) as error:
                log.warning("worklist_listen_lost", error=type(error).__name__)
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def _sequence(self) -> AsyncIterator[int]:
        connection = await psycopg.AsyncConnection.connect(self._dsn, **CONNECT)
        async with connection:
            await connection.execute("listen worklist")
            while True:
                # after LISTEN, so that nothing falls between; and every quiet while, which also finds a dead connection
                row = await (await connection.execute(_sql.newest_seq)).fetchone()
                yield row[0] if row else 0
                async for notice in connection.notifies(timeout=PROBE_S):
                    yield int(notice.payload)
