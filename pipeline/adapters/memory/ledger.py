"""The ledger in memory, over the worklist in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.domain.ledger import Day, Raised, Read, of_item


class MemoryLedger:
    """LedgerStore."""

    def __init__(self, worklist: MemoryWorklist) -> None:
        self._worklist = worklist
        self._days: dict[date, Day] = {}

    async def reads(self, since: datetime, until: datetime) -> list[Read]:
        """As LedgerStore.reads."""
        found = []
        for row in self._worklist.rows.values():
            item, claimed_at = row.listed.item, row.listed.claimed_at
            if item.study.closed == "reported" and since <= item.ranked_at < until:
                overridden = any(change.kind == "override" for change in self._worklist.rank_changes.get(item.study.study_uid, ()))
                found.append(of_item(item, min(claimed_at or item.ranked_at, item.ranked_at), overridden))
        return found

    async def raised(self, since: datetime, until: datetime) -> list[Raised]:
        """As LedgerStore.raised."""
        found = [alert for alert in self._worklist.alerts.alerts.values() if alert.study_uid and since <= alert.raised_at < until]
        return [Raised(alert.raised_at, alert.muted is not None, alert.confirmed) for alert in found]

    async def store(self, days: Sequence[Day]) -> None:
        """As LedgerStore.store."""
        self._days.update({day.day: day for day in days})

    async def days(self, limit: int = 30) -> list[Day]:
        """As LedgerStore.days."""
        return [self._days[day] for day in sorted(self._days, reverse=True)[:limit]]
