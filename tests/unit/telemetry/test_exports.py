"""What gateways and stages count is what a scrape finds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from pydantic import SecretStr

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.operations import MemoryEnds, MemorySettledLetters
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.telemetry import exports
from pipeline.adapters.telemetry.metrics import Metrics
from pipeline.domain.packing import pack
from pipeline.domain.rhythm import Silence
from pipeline.domain.stages import CONTEXT, PartitionLag
from pipeline.domain.window import derive
from pipeline.ports.operations import Crowd, ListFigures, Ranked
from pipeline.services.conditions import Operations, StageStanding
from pipeline.services.intake import Intake
from pipeline.services.letters import IntakeGate
from pipeline.services.monitor import Monitor
from pipeline.services.sources import SourceStanding
from pipeline.settings import Postgres
from tests.unit.domain.test_packing import two_days
from tests.unit.hl7.messages import PID, arrival, message
from tests.unit.services.test_pictures import World, told
from tests.unit.services.test_scoring import World as ScoringWorld
from tests.unit.services.test_scoring import received, request


async def test_a_gateways_messages_values_and_connections_are_served() -> None:
    """Outcomes of messages, values that no table maps, and what happened on the lines."""
    metrics, clock, log = Metrics(), ManualClock(), MemoryEventLog()
    intake = Intake(log, MemoryReceipts(), MemoryVault(clock), clock)
    exports.gateway("hl7", intake, IntakeGate(MemoryEnds(log), MemorySettledLetters(), limit=3), metrics)
    exports.lines("hl7", Counter({"restarted": 2}), metrics)
    await intake.accept(arrival(message("ORU^R01", PID, "OBX|1|NM|2345-7^Glucose^LN||5.5||||||F")))
    served = generate_latest(metrics.registry).decode().splitlines()

    assert 'readfirst_messages_total{gateway="hl7",outcome="accepted",reason=""} 1.0' in served
    assert 'readfirst_unmapped_values_total{gateway="hl7",reason="unit-missing"} 1.0' in served
    assert 'readfirst_connections_total{gateway="hl7",reason="restarted"} 2.0' in served


async def test_what_became_of_pictures_is_served() -> None:
    """Looked at, refused, left alone; and that Triton is given up, by the stage that gave it up."""
    metrics, world = Metrics(), World()
    async with Database.from_settings(Postgres(dsn=SecretStr("postgresql://127.0.0.1:1/none"))) as database:
        exports.pictures(world.stage, database, metrics)
        world.triton.down = True
        await world.handle(told(0), told(1, uri="object:bad/2/3"), told(2, modality="CT"), told(3, kind="complete"))
        for offset in (4, 5):
            await world.handle(told(offset, uri=f"object:1/2/{offset}"))
        served = generate_latest(metrics.registry).decode().splitlines()

    counts = {"applied": {"looked": 3, "refused": 1}, "ignored": {"no-head": 1, "no-picture": 1}}
    for outcome, reasons in counts.items():
        for reason, count in reasons.items():
            labels = f'outcome="{outcome}",reason="{reason}",stage="pictures"'
            assert f"readfirst_records_total{{{labels}}} {count:.1f}" in served
    assert 'readfirst_breaker_open{choice="0",stage="pictures"} 1.0' in served
    assert 'readfirst_breaker_open{choice="1",stage="pictures"} 0.0' in served


def standing(at: datetime) -> Operations:
    """A pipeline of which everything can be said: each figure another one."""
    figures = ListFigures(
        [Crowd("E", "stat", 3, 1), Crowd("", "", 5, 2)],
        degraded=2,
        provisional=4,
        unmatched=1,
        oldest_ready_at=at - timedelta(seconds=600),
        oldest_score=at - timedelta(seconds=90),
        escalations={"notified": 6},
        escalation_due_at=at - timedelta(seconds=12),
    )
    late = StageStanding(CONTEXT, [PartitionLag("context", "labs", 3, 7, 8.5, 9.5)], 7, 8.5, False, 11, "words")
    silent = SourceStanding("LIS", at - timedelta(seconds=300), Silence(300.0, 13.0, silent=True, learning=False), ())
    up = {"postgres": True, "kafka": True}
    return Operations(at, None, [late], figures, [silent], letters=14, letters_limit=15, clock_offset_s=-0.25, up=up)


STANDING = """
readfirst_lag_records{partition="3",stage="context",topic="labs"} 7.0
readfirst_lag_seconds{partition="3",stage="context",topic="labs"} 8.5
readfirst_standstill_seconds{partition="3",stage="context",topic="labs"} 9.5
readfirst_studies_behind{stage="context"} 11.0
readfirst_dead_letters 14.0
readfirst_dead_letters_limit 15.0
readfirst_clock_offset_seconds -0.25
readfirst_worklist_open{patient_class="E",priority="stat"} 3.0
readfirst_worklist_overdue{patient_class="E",priority="stat"} 1.0
readfirst_worklist_open{patient_class="unknown",priority="unknown"} 5.0
readfirst_worklist_degraded_ratio 0.25
readfirst_worklist_provisional_ratio 0.5
readfirst_worklist_unmatched 1.0
readfirst_worklist_oldest_seconds 600.0
readfirst_score_age_seconds 90.0
readfirst_escalations{state="notified"} 6.0
readfirst_escalations{state="escalated"} 0.0
readfirst_escalation_overdue_seconds 12.0
readfirst_source_silence_seconds{source="LIS"} 300.0
readfirst_source_missed_messages{source="LIS"} 13.0
readfirst_source_silent{source="LIS"} 1.0
readfirst_store_up{store="kafka"} 1.0
readfirst_stream_clients 2.0
readfirst_database_connections{state="idle"} 0.0
readfirst_database_waiting 0.0
"""


class Watching:
    """A monitor whose last look was so long ago."""

    def __init__(self, now: Operations, age_s: float) -> None:
        self.now, self._age_s = now, age_s

    def age_s(self) -> float:
        """As Monitor.age_s."""
        return self._age_s


@pytest.mark.parametrize(
    ("age_s", "away", "missing"),
    [
        (1.0, "", ()),
        (1.0, "kafka", ("lag", "standstill", "studies", "dead", "store_up")),
        (1.0, "postgres", ("clock", "worklist", "score", "escalation", "source")),
        (60.0, "", ("lag", "standstill", "studies", "dead", "clock", "worklist", "score", "escalation", "source", "store")),
    ],
)
async def test_how_the_pipeline_stands_is_served(age_s: float, away: str, missing: tuple[str, ...]) -> None:
    """Each figure under its name; none that is old: of a store that is away, or of a watcher that looks no more. When it looked, always."""
    metrics, clock = Metrics(), ManualClock()
    seen = standing(clock.now())
    seen = replace(seen, up={store: store != away for store in seen.up})
    async with Database.from_settings(Postgres(dsn=SecretStr("postgresql://127.0.0.1:1/none"))) as database:
        exports.web(lambda: 2, cast(Monitor, Watching(seen, age_s)), database, metrics)
        served = generate_latest(metrics.registry).decode().splitlines()

    gone = tuple(f"readfirst_{name}" for name in missing)
    expected = {line for line in STANDING.split("\n") if line}
    assert {line for line in expected if not line.startswith(gone)} <= set(served)
    assert [line for line in expected.intersection(served) if line.startswith(gone)] == []
    assert metrics.registry.get_sample_value("readfirst_looked_timestamp_seconds") == seen.at.timestamp()


def test_both_waits_of_an_event_are_served() -> None:
    """From the gateway, and from when it was true; an event of which that is not known has the first only."""
    metrics, at = Metrics(), ManualClock().now()
    before = [timedelta(seconds=seconds) for seconds in (0.5, 30, 2)]
    exports.ranked([Ranked("a", at - before[1], at - before[0], at), Ranked("b", None, at - before[2], at)], metrics)
    served = generate_latest(metrics.registry).decode().splitlines()

    assert {'readfirst_event_to_rank_seconds_bucket{le="1.0"} 1.0', "readfirst_event_to_rank_seconds_sum 2.5"} <= set(served)
    assert "readfirst_truth_to_rank_seconds_sum 30.0" in served


async def test_how_large_a_window_is_is_served() -> None:
    """In the bucket of its packed size, one of many; one that cannot be packed stops nobody."""
    metrics, window = Metrics(), derive(two_days())
    seldom, always = exports.window_sizes(metrics, every_s=3600.0), exports.window_sizes(metrics, every_s=0.0)
    for _ in range(3):
        seldom(window)
    always(None)  # type: ignore[arg-type]
    served = generate_latest(metrics.registry).decode().splitlines()

    assert 4096 < len(pack(window)) <= 8192
    assert {'readfirst_window_bytes_bucket{le="4096.0"} 0.0', 'readfirst_window_bytes_bucket{le="8192.0"} 1.0'} <= set(served)
    assert "readfirst_window_bytes_count 1.0" in served


async def test_what_waits_for_a_score_is_served_by_priority() -> None:
    """All three, also while nobody waits: a panel shows a line, not a hole."""
    metrics, world = Metrics(), ScoringWorld()
    async with Database.from_settings(Postgres(dsn=SecretStr("postgresql://127.0.0.1:1/none"))) as database:
        exports.scoring(world.stage, database, metrics)
        seen: list[str] = []
        world.triton.while_asked = lambda: seen.append(generate_latest(metrics.registry).decode())
        await world.handle(received(0, request("p1", urgency=1)), received(1, request("p2", urgency=3)))
        served = generate_latest(metrics.registry).decode()

    for priority, count in ((1, 1), (2, 0), (3, 1)):
        assert f'readfirst_scoring_backlog{{priority="{priority}"}} {count}.0' in seen[0]
        assert f'readfirst_scoring_backlog{{priority="{priority}"}} 0.0' in served
