"""The gateways' receipts in memory."""

from __future__ import annotations

from pipeline.ports import Receipt


class MemoryReceipts:
    """Receipts. `closed` and `pending` are open to tests."""

    def __init__(self) -> None:
        self.closed: dict[tuple[str, str, str], Receipt] = {}
        self.pending: set[tuple[str, str, str]] = set()

    async def open(self, source: str, kind: str, identity: str) -> tuple[str, Receipt | None]:
        """As Receipts.open."""
        key = (source, kind, identity)
        if key in self.closed:
            return "done", self.closed[key]
        if key in self.pending:
            return "pending", None
        self.pending.add(key)
        return "new", None

    async def close(self, receipt: Receipt) -> None:
        """As Receipts.close; what was accepted once stays accepted."""
        key = (receipt.source, receipt.kind, receipt.identity)
        self.pending.discard(key)
        earlier = self.closed.get(key)
        if earlier is None or earlier.outcome != "accepted":
            self.closed[key] = receipt
