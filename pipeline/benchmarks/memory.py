"""What each part of the stack holds in memory after a demo's hours, and how large its patients' windows are."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg

from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import servers, window_bytes
from pipeline.benchmarks.processes import memory_mib
from pipeline.domain.window import Window
from pipeline.settings import Settings
from pipeline.simulation.accounts import Accounts, reconciled
from pipeline.simulation.feed import Feed
from pipeline.simulation.hospital import Hospital, Plan
from schemas import codec
from schemas.events import AnyEvent

FEED_S = 20.0


def measure(studies: int, progress: Progress) -> dict[str, Any]:
    """Three simulated hours of so many studies, fed within a moment. Raises StackError."""
    with servers.folder() as data, servers.stack(data, progress) as settings:
        progress("feed", f"{studies} studies")
        summary = asyncio.run(_feed(settings, studies))
        parts = memory_mib(data)
        sizes = asyncio.run(_window_sizes(settings))
    total = {kind: round(sum(part[kind] for part in parts.values()), 1) for kind in ("rss", "pss")}
    windows = {"patients": len(sizes), "median_bytes": round(median(sizes)), "largest_bytes": max(sizes)}
    return {"parts_mib": parts, "sum_mib": total, "window": windows, "sent": sum(summary["sent"].values())}


async def _feed(settings: Settings, studies: int) -> dict[str, Any]:
    started = datetime.now(UTC)
    plan = Plan(studies=studies, observations=36)
    length = timedelta(hours=plan.hours)
    hospital = Hospital(plan, lambda at: started - length + at, f"{int(time.time()) % 1_000_000:06d}")
    async with Feed(settings) as feed:
        await feed.send(hospital.messages(), speed=length.total_seconds() / FEED_S)
        async with Accounts(settings, started) as accounts:
            return await reconciled(accounts, feed, timeout_s=120)


async def _window_sizes(settings: Settings) -> list[int]:
    """Bytes of each patient's window, as MessagePack; windows themselves live in memory only."""
    histories: dict[str, list[AnyEvent]] = defaultdict(list)
    async with await psycopg.AsyncConnection.connect(settings.postgres.dsn.get_secret_value()) as connection:
        rows = await connection.execute("select patient, body from fact", binary=True)
        for patient, body in await rows.fetchall():
            histories[patient].append(codec.decode_event(bytes(body)))
    return [len(window_bytes.encode(Window.derive(events))) for events in histories.values()]
