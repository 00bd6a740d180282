"""Keeps the ledger: today and yesterday are told anew from the studies that were read, older days stay as they were told."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from pipeline.domain import ledger
from pipeline.errors import Unavailable
from pipeline.ports import Clock, LedgerStore

log = structlog.get_logger()

TOLD_ANEW = 2
"""Days, the present one among them: a report may come late."""
LEAD = timedelta(days=4)
"""What was read before a day decides who was waiting on it; routine outpatients wait three days."""

EVERY_S = 60.0


async def keep_told(store: LedgerStore, clock: Clock, time_zone: str) -> None:
    """Runs `keep` every minute, until cancelled."""
    while True:
        try:
            await keep(store, clock, time_zone)
        except Unavailable as error:
            log.warning("ledger_postponed", reason=str(error))
        await asyncio.sleep(EVERY_S)


async def keep(store: LedgerStore, clock: Clock, time_zone: str) -> list[ledger.Day]:
    """Tells the newest days anew, in the site's time zone, and returns them. Raises Unavailable."""
    now, zone = clock.now(), ZoneInfo(time_zone)

    def day_of(moment: datetime) -> date:
        return moment.astimezone(zone).date()

    newest = [day_of(now) - timedelta(days=back) for back in range(TOLD_ANEW)]
    reads = await store.reads(now - timedelta(days=TOLD_ANEW) - LEAD, now + timedelta(seconds=1))
    raised = await store.raised(now - timedelta(days=TOLD_ANEW), now + timedelta(seconds=1))
    told = [day for one in newest if (day := ledger.of_day(one, reads, raised, day_of, now)) is not None]
    if told:
        await store.store(told)
    log.info("ledger_kept", days=len(told), read=sum(day.read for day in told))
    return told
