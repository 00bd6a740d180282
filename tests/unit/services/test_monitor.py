"""The monitor: lag in seconds from outside, whom it affects, and what is said when a store is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog, partition_of
from pipeline.adapters.memory.operations import MemoryEnds, MemorySettledLetters, MemoryStanding
from pipeline.ports import Place, Record
from pipeline.ports.operations import Crowd, ListFigures, Ranked
from pipeline.services.conditions import StageStanding
from pipeline.services.monitor import FIGURES_EVERY, Monitor
from schemas.topics import DLQ, LABS

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
PATIENT = "p" * 32


class Site:
    """A pipeline that a test moves, and a monitor that looks at it."""

    def __init__(self, limit: int = 10) -> None:
        self.clock = ManualClock(NOON)
        self.log = MemoryEventLog()
        self.ends = MemoryEnds(self.log)
        self.standing = MemoryStanding(self.clock, studies={PATIENT: 3})
        self.settled = MemorySettledLetters()
        self.ranked: list[Ranked] = []
        self.refused: list[str] = []
        self.partition = partition_of(PATIENT.encode(), 8)
        self.monitor = Monitor(
            self.standing, self.ends, self.settled, self.clock, lambda patient: partition_of(patient.encode(), 8),
            partitions=8, zone=ZoneInfo("UTC"), letters_limit=limit, on_ranked=self.ranked.extend, refused=lambda: list(self.refused),
        )  # fmt: skip

    async def arrive(self, count: int = 1) -> None:
        """Records of the patient come in now."""
        start = len(self.log.received(LABS, self.partition))
        await self.log.append([Record(LABS, PATIENT.encode(), b"{}")] * count)
        for offset in range(start, start + count):
            self.ends.stamp(LABS, self.partition, offset, self.clock.now())

    def apply(self, offset: int) -> None:
        """The context stage has come so far."""
        self.standing.offsets["readfirst-context", Place("labs", self.partition)] = offset

    async def context(self) -> StageStanding:
        """How the context stage stands at a look."""
        return next(each for each in (await self.monitor.look()).stages if each.stage.name == "context")

    def words(self) -> list[str]:
        """What is amiss."""
        return [condition.words for condition in self.monitor.conditions]


@pytest.fixture
def site() -> Site:
    return Site()


async def test_a_quiet_topic_is_not_behind(site: Site) -> None:
    """However long ago the last record came."""
    await site.arrive()
    site.apply(0)
    site.clock.advance(timedelta(hours=3))

    seen = await site.context()
    assert (seen.records, seen.seconds, seen.sentence) == (0, 0.0, None)
    assert site.words() == []


async def test_lag_is_the_age_of_the_next_record(site: Site) -> None:
    """By the record's own time, not by when we looked."""
    await site.arrive()
    site.apply(0)
    site.clock.advance(timedelta(seconds=10))
    await site.arrive(5)
    site.clock.advance(timedelta(seconds=95))

    seen = await site.context()
    assert (seen.records, seen.seconds, seen.studies) == (5, 95.0, 3)
    assert seen.sentence == f"3 studies of context partition {site.partition} are ranked on data 95 s old."


async def test_a_partition_that_stands_still_is_told_from_one_that_is_slow(site: Site) -> None:
    """Nothing applied for fifteen seconds while records wait."""
    await site.arrive(100)
    for step in range(10):
        site.apply(step)
        site.clock.advance(timedelta(seconds=2))
        assert not (await site.context()).standing_still
    for _ in range(8):
        site.clock.advance(timedelta(seconds=2))
        seen = await site.context()

    assert seen.standing_still
    assert site.words() == [f"3 studies of context partition {site.partition} are ranked on data 36 s old. It stands still."]


async def test_a_waiting_records_time_is_read_once(site: Site) -> None:
    """Looking does not cost a fetch each time."""
    await site.arrive(3)
    for _ in range(5):
        await site.context()

    assert site.ends.reads == 1


async def test_a_condition_remembers_since_when(site: Site) -> None:
    """A stage has been behind since its next record came; what is over is forgotten."""
    since = site.clock.now()
    await site.arrive()
    site.clock.advance(timedelta(seconds=6))
    await site.context()
    site.clock.advance(timedelta(seconds=20))
    await site.context()
    assert [condition.since for condition in site.monitor.conditions] == [since]

    site.apply(0)
    await site.context()
    assert site.monitor.conditions == []


@pytest.mark.parametrize(("store", "words"), [("standing", "Postgres"), ("ends", "Kafka")])
async def test_a_store_that_is_away_is_a_condition(site: Site, store: str, words: str) -> None:
    """What was seen last stays, with the time it was good."""
    site.standing.numbers = ListFigures([Crowd("E", "stat", 4, 1)])
    await site.monitor.look()
    setattr(getattr(site, store), "down", True)  # noqa: B010
    site.clock.advance(timedelta(seconds=4))
    seen = await site.monitor.look()

    assert seen.figures.open == 4
    assert seen.good_at == NOON
    assert site.words() == [f"{words} does not answer: what stands here is old, and nothing moves."]


async def test_dead_letters_and_the_limit(site: Site) -> None:
    """Waiting ones are a warning; as many as the limit stop the intake, and are told as that."""
    await site.log.append([Record(DLQ, b"k", b"{}")] * 9)
    await site.monitor.look()
    assert site.words() == ["9 dead letters wait: data that the list does not know of."]

    await site.log.append([Record(DLQ, b"k", b"{}")])
    await site.monitor.look()
    assert site.words() == ["The intake is stopped: 10 dead letters wait, the limit is 10. Senders keep their messages."]


async def test_a_version_that_cannot_be_used_is_a_condition_until_it_is_mended(site: Site) -> None:
    """Scores are not marked as degraded meanwhile: the shipped model gives them."""
    site.refused = ["clinical_risk"]
    await site.monitor.look()
    assert site.words() == ["The site's version of clinical_risk cannot be used: the shipped one answers, and readfirst doctor says why."]

    site.refused = []
    site.clock.advance(FIGURES_EVERY)
    await site.monitor.look()
    assert site.words() == []


async def test_a_refused_site_file_is_a_condition_until_it_is_mended(site: Site) -> None:
    """The list looks well meanwhile: nobody else would say so."""
    site.standing.numbers = ListFigures(site_faults=2)
    await site.monitor.look()
    assert site.words() == ["The newest site file is refused for 2 faults: the rules from before rank the list."]
    assert [condition.remedy for condition in site.monitor.conditions] == ["site-file-refused"]

    site.standing.numbers = ListFigures()
    site.clock.advance(FIGURES_EVERY)
    await site.monitor.look()
    assert site.words() == []


async def test_a_source_that_falls_silent_is_named(site: Site) -> None:
    """By its own rhythm: one message a minute for two days, then none."""
    start = NOON - timedelta(days=2)
    site.standing.messages = [("LAB|MAIN", start + timedelta(minutes=n)) for n in range(2 * 24 * 60)]
    await site.monitor.look()
    assert site.words() == []

    site.clock.advance(timedelta(minutes=14))
    await site.monitor.look()
    assert site.words() == ["LAB|MAIN has been silent for 15 min; about 15 messages are missing."]


async def test_events_that_became_ranks_are_handed_on_once(site: Site) -> None:
    """Those from before the first look are not."""
    site.standing.ranked = [Ranked("old", None, NOON, NOON)]
    await site.monitor.look()
    site.standing.ranked.append(Ranked("new", None, NOON, NOON + timedelta(seconds=1)))
    await site.monitor.look()
    await site.monitor.look()

    assert [ranked.event_id for ranked in site.ranked] == ["new"]
