"""The contracts of ShadowScores and DriftCounts, held by the memory twins and by Postgres."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from pipeline.adapters.memory.model_life import MemoryDriftCounts, MemoryShadowScores
from pipeline.adapters.postgres.model_life import PostgresDriftCounts, PostgresShadowScores
from pipeline.domain.shadow import ShadowScore
from pipeline.ports import DriftCounts, ShadowScores
from tests.store_fixtures import START

DAY = date(2026, 3, 2)


@pytest.fixture(params=["memory", "postgres"])
def scores(request: pytest.FixtureRequest) -> ShadowScores:
    """Empty."""
    return MemoryShadowScores() if request.param == "memory" else PostgresShadowScores(request.getfixturevalue("database"))


@pytest.fixture(params=["memory", "postgres"])
def counts(request: pytest.FixtureRequest) -> DriftCounts:
    """Empty."""
    return MemoryDriftCounts() if request.param == "memory" else PostgresDriftCounts(request.getfixturevalue("database"))


def score(patient: str, minutes: float, shadow: float = 0.3) -> ShadowScore:
    """One pair."""
    return ShadowScore(patient, 7, START + timedelta(minutes=minutes), "1", 0.2, "2", shadow)


async def test_scores_come_back_newest_first(scores: ShadowScores) -> None:
    """Since a moment, and no more than asked for."""
    await scores.add([score("a", 0), score("b", 5), score("c", 9)])

    assert await scores.since(START + timedelta(minutes=5)) == [score("c", 9), score("b", 5)]
    assert await scores.since(START, limit=1) == [score("c", 9)]


async def test_the_same_request_again_changes_nothing(scores: ShadowScores) -> None:
    """A worker that came again scores what was scored."""
    await scores.add([score("a", 0)])
    await scores.add([score("a", 3, 0.9), score("b", 4)])

    assert await scores.since(START) == [score("b", 4), score("a", 0)]


async def test_workers_count_together(counts: DriftCounts) -> None:
    """Counts of one day and version add up; others are others."""
    await counts.add(DAY, "1", {("heart_rate", -1): 2, ("heart_rate", 3): 5})
    await counts.add(DAY, "1", {("heart_rate", 3): 1, ("risk", 0): 4})
    await counts.add(DAY, "2", {("risk", 0): 9})

    assert await counts.of(DAY, "1") == {("heart_rate", -1): 2, ("heart_rate", 3): 6, ("risk", 0): 4}
    assert await counts.of(DAY + timedelta(days=1), "1") == {}
