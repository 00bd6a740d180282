"""What the order of reading saved and cost, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pipeline.domain.ledger import Day, Raised, Read


class LedgerStore(Protocol):
    """The reads behind the ledger, and its closed days, which outlive them. The methods raise Unavailable."""

    async def reads(self, since: datetime, until: datetime) -> list[Read]:
        """Studies that were reported in [since, until), by when they were begun: claimed, or else reported. No cancelled ones."""
        ...

    async def raised(self, since: datetime, until: datetime) -> list[Raised]:
        """The alerts on studies that were raised in [since, until)."""
        ...

    async def store(self, days: Sequence[Day]) -> None:
        """Writes the days, in place of what was said of them before."""
        ...

    async def days(self, limit: int = 30) -> list[Day]:
        """The newest first."""
        ...
