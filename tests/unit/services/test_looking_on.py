"""What looks on never holds up what it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.model_life import MemoryDriftCounts, MemoryShadowScores
from pipeline.domain import drift
from pipeline.errors import StackError, Unavailable
from pipeline.services import looking_on
from pipeline.services.drift_tally import DriftTally
from pipeline.services.looking_on import LookingOn, watching
from schemas.assessments import AssessRequest, Features, Risk
from tests import virtual_time

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
REFERENCE = drift.reference_of(
    drift.columns([Features(values={"heart_rate.last": 60.0 + n}, age=50.0) for n in range(100)], [n / 100 for n in range(100)])
)


def request(number: int) -> AssessRequest:
    return AssessRequest(
        event_id=str(number),
        patient=f"p{number}",
        context_version=number,
        as_of=NOW,
        recorded_at=NOW,
        urgency=1,
        studies=[],
        features=Features(values={"heart_rate.last": 75.0}),
    )


def risk(probability: float | None, version: str = "1") -> Risk:
    return Risk(scorer="triton", probability=probability, model_version=version, scored_at=NOW)


class Candidate:
    """Says 0.5 of everybody, or nothing."""

    def __init__(self) -> None:
        self.away = False

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        if self.away:
            raise Unavailable("away")
        return [risk(0.5, "2") for _ in requests]


class Room:
    """A LookingOn and what is behind it."""

    def __init__(self) -> None:
        self.candidate: Candidate | None = Candidate()
        self.scores, self.counts = MemoryShadowScores(), MemoryDriftCounts()
        self.tally = DriftTally(self.counts, lambda: ("1", REFERENCE), ManualClock(NOW))
        self.watch = LookingOn(lambda: self.candidate, self.scores, self.tally)


async def test_the_candidate_scores_what_was_served() -> None:
    """Both probabilities of the same request are kept; what the rules answered has none."""
    room = Room()
    room.watch.note([request(1), request(2)], [risk(0.2), risk(None)])
    await room.watch.look()

    assert [(score.patient, score.served, score.shadow) for score in await room.scores.since(NOW)] == [("p1", 0.2, 0.5)]


async def test_nobody_looks_on_and_nothing_piles_up() -> None:
    """Without a candidate nothing is kept for one."""
    room = Room()
    room.candidate = None
    room.watch.note([request(1)], [risk(0.2)])
    await room.watch.look()
    room.candidate = Candidate()
    await room.watch.look()

    assert await room.scores.since(NOW) == []


async def test_a_candidate_that_fails_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did not see is counted; so is what there were too many of."""
    monkeypatch.setattr(looking_on, "WAITING_MAX", 3)
    room = Room()
    assert room.candidate is not None
    room.candidate.away = True
    room.watch.note([request(n) for n in range(5)], [risk(0.2)] * 5)
    assert room.watch.left_out == 2
    await room.watch.look()
    assert (room.watch.left_out, room.watch.scored) == (5, 0)


async def test_what_was_asked_is_counted_by_day() -> None:
    """Every answer counts once, in the bin of each input; a store that is away gets it later."""
    room = Room()
    room.watch.note([request(1)] * 2, [risk(0.2), risk(0.93)])
    store, room.tally._store = room.tally._store, _Away()  # type: ignore[assignment]
    await room.watch.flush()
    room.tally._store = store
    room.watch.note([request(1)], [risk(0.2)])
    await room.watch.flush()
    counts = await room.counts.of(date(2026, 3, 2), "1")

    assert sum(rows for (name, _), rows in counts.items() if name == "heart_rate") == 3
    assert counts[("age", drift.MISSING)] == 3
    assert sum(rows for (name, _), rows in counts.items() if name == drift.RISK) == 3


@pytest.mark.parametrize("error", [StackError("state.json cannot be read", "put back a copy"), RuntimeError("nobody thought of it")])
def test_what_goes_wrong_stops_nothing(error: Exception) -> None:
    """A damaged file of versions, or anything else: scoring goes on, and so does the look, which is there when it is mended."""
    room, broken = Room(), True

    def candidate() -> Candidate | None:
        if broken:
            raise error
        return room.candidate

    async def told() -> None:
        nonlocal broken
        watch = LookingOn(candidate, room.scores, room.tally)
        watch.note([request(1)], [risk(0.2)])
        with pytest.raises(type(error)):
            await watch.look()
        running = asyncio.create_task(watching(watch))
        await asyncio.sleep(looking_on.PAUSE_S * 1.5)
        assert watch.scored == 0
        broken = False
        await asyncio.sleep(looking_on.PAUSE_S)
        assert watch.scored == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(told())


def test_what_cannot_look_goes_on_counting() -> None:
    """A candidate that is gone for good does not keep the counts of what is served from the store."""
    room = Room()

    def gone() -> None:
        raise StackError("its folder is gone", "put it back")

    async def counted() -> int:
        watch = LookingOn(gone, room.scores, room.tally)
        watch.note([request(1)], [risk(0.2)])
        running = asyncio.create_task(watching(watch))
        await asyncio.sleep(looking_on.FLUSH_S + 2 * looking_on.PAUSE_S)
        counts = await room.counts.of(date(2026, 3, 2), "1")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return sum(rows for (name, _), rows in counts.items() if name == drift.RISK)

    assert virtual_time.run(counted()) == 1


def test_why_it_cannot_look_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again where the reason changes, or comes back after it was mended: not every second."""
    room, told, reasons = Room(), list[str](), ["gone", "gone", "gone", "damaged", "", "damaged", "damaged"]
    monkeypatch.setattr(looking_on, "log", SimpleNamespace(warning=lambda event, reason: told.append(f"{event}: {reason}")))

    def candidate() -> None:
        if reasons and (reason := reasons.pop(0)):
            raise StackError(reason, "put it back")

    async def watched() -> None:
        running = asyncio.create_task(watching(LookingOn(candidate, room.scores, room.tally)))
        await asyncio.sleep(looking_on.PAUSE_S * 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(watched())
    assert told == [f"shadow_cannot_look: StackError {reason}" for reason in ("gone", "damaged", "damaged")]


async def test_a_damaged_file_of_versions_is_not_counted_by() -> None:
    """Counting drift raises nothing where it is not known what is served."""

    def damaged() -> None:
        raise StackError("state.json cannot be read", "put back a copy")

    room = Room()
    LookingOn(lambda: None, room.scores, DriftTally(room.counts, damaged, ManualClock(NOW))).note([request(1)], [risk(0.2)])


class _Away:
    async def add(self, *_: object) -> None:
        raise Unavailable("away")


async def test_what_only_a_sites_model_reads_drifts_too() -> None:
    """Further values by name, and whether it was given a film."""
    made_on = drift.renewed(REFERENCE, {"crp": [1.0, 2.0, 3.0, None], "image": [1.0, 1.0, None, None]})
    room = Room()
    room.watch.tally = DriftTally(room.counts, lambda: ("1", made_on), ManualClock(NOW))
    asked = replace(request(1), values={"crp": 2.5})
    room.watch.note([asked, request(2)], [replace(risk(0.2), inputs=("image", "crp")), risk(0.3)])
    await room.watch.flush()

    counts = await room.counts.of(date(2026, 3, 2), "1")
    assert {place: rows for place, rows in counts.items() if place[0] in ("crp", "image")} == {
        ("crp", 1): 1,
        ("crp", drift.MISSING): 1,
        ("image", 0): 1,
        ("image", drift.MISSING): 1,
    }
