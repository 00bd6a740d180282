"""Keeps the ledger: today and yesterday are told anew from the studies that were read, older days stay as they were told.

Once it has begun it tells every day, also one on which nothing was read, and those that went by while nobody kept it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from pipeline.domain import ledger
from pipeline.domain.site import DEFAULT, Policy
from pipeline.errors import Unavailable
from pipeline.ports import Clock, LedgerStore

log = structlog.get_logger()

TOLD_ANEW = 2
"""Days, the present one among them: a report may come late."""
LEAD = timedelta(days=4)
"""What was read before a day decides who was waiting on it; routine outpatients wait three days."""

MISSED_MOST = 31
"""Days that are told after a pause."""

EVERY_S = 60.0


async def keep_told(store: LedgerStore, clock: Clock, time_zone: str, policy: Callable[[], Policy]) -> None:
    """Runs `keep` every minute by the site's rules, until cancelled."""
    while True:
        try:
            await keep(store, clock, time_zone, policy())
        except Unavailable as error:
            log.warning("ledger_postponed", reason=str(error))
        await asyncio.sleep(EVERY_S)


async def keep(store: LedgerStore, clock: Clock, time_zone: str, policy: Policy = DEFAULT) -> list[ledger.Day]:
    """Tells the newest days anew, in the site's time zone, and returns them, the newest first. Raises Unavailable."""
    now, zone, starts = clock.now(), ZoneInfo(time_zone), policy.escalation.budget.shift_starts

    def day_of(moment: datetime) -> date:
        return moment.astimezone(zone).date()

    local = now.astimezone(zone)
    clock_minutes = local.hour * 60 + local.minute + local.second / 60
    last, today = await store.days(1), day_of(now)
    back = max(TOLD_ANEW, min((today - last[0].day).days + 1, MISSED_MOST) if last else 0)  # the last one was told before it ended
    reads = await store.reads(now - timedelta(days=back) - LEAD, now + timedelta(seconds=1))
    raised = await store.raised(now - timedelta(days=back), now + timedelta(seconds=1))
    told: list[ledger.Day] = []
    for one in (today - timedelta(days=ago) for ago in reversed(range(back))):
        shifts = ledger.shifts_until(clock_minutes if one == today else ledger.WHOLE_DAY, starts)
        day = ledger.of_day(one, reads, raised, day_of, now, shifts)
        if told or (last and last[0].day <= one) or day.read or day.alerts.raised or day.alerts.muted:
            told.insert(0, day)
    if told:
        await store.store(told)
    log.info("ledger_kept", days=len(told), read=sum(day.read for day in told))
    return told
