"""The gateways' memory of what they acknowledged."""

from __future__ import annotations

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import event_uuid, key, storable_or_none
from pipeline.ports import Receipt

_sql = Queries("intake")


class PostgresReceipts:
    """Receipts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, source: str, kind: str, identity: str) -> tuple[str, Receipt | None]:
        """As Receipts.open."""
        row_key = {"source": key(source), "kind": key(kind), "identity": key(identity)}
        async with self._database.connection() as connection:
            if await (await connection.execute(_sql.open, row_key)).fetchone() is not None:
                return "new", None
            row = await (await connection.execute(_sql.find, row_key)).fetchone()
        if row is None or row[0] is None:
            return "pending", None
        outcome, reason, event_ids, received_at = row
        return "done", Receipt(source, kind, identity, outcome, reason, tuple(str(event_id) for event_id in event_ids), received_at)

    async def close(self, receipt: Receipt) -> None:
        """As Receipts.close; what was accepted once stays accepted."""
        parameters = {
            "source": key(receipt.source),
            "kind": key(receipt.kind),
            "identity": key(receipt.identity),
            "outcome": receipt.outcome,
            "reason": storable_or_none(receipt.reason),
            "event_ids": [event_uuid(event_id) for event_id in receipt.event_ids],
            "received_at": receipt.received_at,
        }
        async with self._database.connection() as connection:
            await connection.execute(_sql.close, parameters)
