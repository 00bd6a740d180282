"""The contract of DegradedScores, held by the memory twin and by Postgres."""

from __future__ import annotations

import pytest

from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.postgres.degraded_scores import PostgresDegradedScores
from pipeline.ports import DegradedScore, DegradedScores
from schemas.assessments import AssessRequest, Features
from tests.store_fixtures import START, event_id


@pytest.fixture(params=["memory", "postgres"])
def scores(request: pytest.FixtureRequest) -> DegradedScores:
    """Empty."""
    return MemoryDegradedScores() if request.param == "memory" else PostgresDegradedScores(request.getfixturevalue("database"))


def score(patient: str, version: int, choice: int = 1) -> DegradedScore:
    """A request that was answered by `choice`."""
    request = AssessRequest(
        event_id=event_id(version),
        patient=patient,
        context_version=version,
        as_of=START,
        recorded_at=START,
        urgency=1,
        studies=[],
        features=Features(values={"potassium.last": 6.8}),
    )
    return DegradedScore(request, "trace", choice)


async def test_what_is_noted_comes_back_whole(scores: DegradedScores) -> None:
    """The request, its trace and who answered."""
    await scores.note([score("b", 2), score("a", 1, 2)])

    assert sorted(await scores.all(), key=lambda each: each.request.patient) == [score("a", 1, 2), score("b", 2)]


async def test_the_newest_of_a_patient_stays(scores: DegradedScores) -> None:
    """An older one that comes late changes nothing."""
    await scores.note([score("a", 5)])
    await scores.note([score("a", 4)])

    assert await scores.all() == [score("a", 5)]


async def test_an_answer_clears_what_is_not_newer(scores: DegradedScores) -> None:
    """A newer request goes on waiting."""
    await scores.note([score("a", 5), score("b", 7)])
    await scores.clear({"a": 5, "b": 6, "nobody": 1})

    assert await scores.all() == [score("b", 7)]
