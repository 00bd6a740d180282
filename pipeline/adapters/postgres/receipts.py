"""The gateways' memory of what they acknowledged; messages that come at the same time share a statement and its commit, which cost most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import event_uuid, key, storable_or_none
from pipeline.errors import Unavailable
from pipeline.ports import Receipt

_sql = Queries("intake")
TOGETHER_MAX = 64
"""Messages in one statement."""
Row = Mapping[str, Any]
Answer = TypeVar("Answer")


class PostgresReceipts:
    """Receipts."""

    def __init__(self, database: Database) -> None:
        self._opening: Together[tuple[Any, ...] | None] = Together(database, _open)
        self._closing: Together[None] = Together(database, _close)

    async def open(self, source: str, kind: str, identity: str) -> tuple[str, Receipt | None]:
        """As Receipts.open."""
        found = await self._opening.run({"source": key(source), "kind": key(kind), "identity": key(identity)})
        if found is None:
            return "new", None
        outcome, reason, event_ids, received_at = found
        if outcome is None:
            return "pending", None
        return "done", Receipt(source, kind, identity, outcome, reason, tuple(str(event_id) for event_id in event_ids), received_at)

    async def close(self, receipt: Receipt) -> None:
        """As Receipts.close; what was accepted once stays accepted."""
        await self._closing.run(
            {
                "source": key(receipt.source),
                "kind": key(receipt.kind),
                "identity": key(receipt.identity),
                "outcome": receipt.outcome,
                "reason": storable_or_none(receipt.reason),
                "event_ids": [event_uuid(event_id) for event_id in receipt.event_ids],
                "received_at": receipt.received_at,
            }
        )


class Together(Generic[Answer]):
    """Runs a statement for one row; rows that come while it is under way are the next ones together. `run` returns after commit."""

    def __init__(self, database: Database, statement: Callable[[Connection, Sequence[Row]], Awaitable[Sequence[Answer]]]) -> None:
        self._database = database
        self._statement = statement
        self._waiting: list[tuple[Row, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, row: Row) -> Answer:
        """Raises Unavailable, as everybody in the same statement is told."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            # In one order by everyone: two gateways that are sent the same messages must not wait for each other.
            turn = sorted(self._waiting[:TOGETHER_MAX], key=lambda one: (one[0]["source"], one[0]["kind"], one[0]["identity"]))
            del self._waiting[:TOGETHER_MAX]
            await self._commit(turn)

    async def _commit(self, turn: Sequence[tuple[Row, asyncio.Future[Answer]]]) -> None:
        try:
            async with self._database.connection() as connection:  # no transaction around it: that would be two more ways to the server
                answers = await self._statement(connection, [row for row, _ in turn])
        except Exception as error:
            if len(turn) > 1 and not isinstance(error, Unavailable):
                for one in turn:  # one of them is at fault, and must not be everybody's
                    await self._commit([one])
                return
            for _, answer in turn:
                if not answer.done():  # whoever asked may have gone
                    answer.set_exception(error)
            return
        for (_, answer), found in zip(turn, answers, strict=True):
            if not answer.done():
                answer.set_result(found)


_PENDING = (None, None, (), None)


async def _open(connection: Connection, rows: Sequence[Row]) -> list[tuple[Any, ...] | None]:
    """None for a new one, else what is known of it. One that comes twice at once is new once."""
    columns = {name: [row[name] for row in rows] for name in ("source", "kind", "identity")}
    new = set(await (await connection.execute(_sql.open, columns)).fetchall())
    known: list[tuple[Any, ...] | None] = []
    for row in rows:
        if (message := (row["source"], row["kind"], row["identity"])) in new:
            new.remove(message)
            known.append(None)
        else:
            known.append(await (await connection.execute(_sql.find, row)).fetchone() or _PENDING)
    return known


async def _close(connection: Connection, rows: Sequence[Row]) -> list[None]:
    if len(rows) == 1:  # as mostly: what sends several costs twice as much
        await connection.execute(_sql.close, rows[0])
    else:
        async with connection.cursor() as cursor:
            await cursor.executemany(_sql.close, rows)
    return [None] * len(rows)
