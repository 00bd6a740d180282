"""A log sent through real Kafka to the real stages leaves the list that a replay in memory leaves, however many workers share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import bootstrap
from pipeline.benchmarks.hospital_day import Day
from pipeline.replay import running
from pipeline.replay.digest import state_digest
from pipeline.replay.log_file import LoggedRecord, milliseconds
from pipeline.replay.small_log import SmallLog
from pipeline.replay.times import PLAIN_DAY
from pipeline.settings import Settings
from schemas.topics import REPORTS
from tests.integration import live_stages
from tests.integration.live_stages import LiveStages
from tests.replay.make_corpus import merge_in_mid_read

DAY = Day(PLAIN_DAY.moment("00:00"), 6_000, beds=300)
NOON = milliseconds(PLAIN_DAY.moment("12:00"))


@pytest.fixture
def stages(kafka: str, migrated: Callable[[], str], tmp_path: Path) -> Iterator[LiveStages]:
    """Topics and a database of this test's own."""
    with live_stages.on(kafka, migrated(), "live.", tmp_path) as live:
        yield live


def log_file(path: Path, records: list[LoggedRecord]) -> Path:
    """A log of these records."""
    SmallLog(()).with_records(records).write(path)
    return path


def morning() -> list[LoggedRecord]:
    """Beds with monitors, studies that come, half of them read by noon, and a merge that is undone while its study is read."""
    day = (record for record in DAY.records() if record.timestamp < NOON)
    half_read = (record for record in day if record.topic != REPORTS.name or record.key < b"8")
    return sorted([*half_read, *merge_in_mid_read().records], key=lambda record: record.timestamp)


async def feed(log: Path, settings: Settings) -> None:
    """As `readfirst replay LOG --live`."""
    reader = running.opened(log, salvage=False)
    assert await asyncio.to_thread(running.fed, reader, settings, None, None, lambda done, total: None) == reader.records
    reader.close()


async def test_live_workers_write_the_digest_of_the_replay(stages: LiveStages, tmp_path: Path) -> None:
    """One context worker takes the first half of a log whose day is long past; then a second one joins, and they share the other half."""
    records = morning()
    middle = len(records) // 2
    whole, first, second = (
        log_file(tmp_path / f"{number}.rfl", part) for number, part in enumerate((records, records[:middle], records[middle:]))
    )
    stages.start("agent-ranking")
    stages.start("agent-context")
    replayed = await asyncio.to_thread(running.played, running.opened(whole, salvage=False), running.Choice("rules"))
    async with bootstrap.resources(stages.settings) as resources, resources.monitor() as monitor:
        await feed(first, stages.settings)
        await stages.idle(monitor, "context", "ranking")
        await stages.assigned(stages.start("agent-context"))
        await feed(second, stages.settings)
        await stages.idle(monitor, "context", "ranking")
    items = await stages.listed()

    assert replayed.events == len(records) and replayed.applied > 3_000
    assert len(items) == len(replayed.items) > 50
    assert state_digest(items, risk=False) == replayed.rules_digest
