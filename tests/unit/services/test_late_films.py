"""Scores whose film was not prepared in time: given without it, and again with it."""

from __future__ import annotations

import pytest

from pipeline.services.scoring import LATE_AT_ONCE, ScoringStage
from tests.unit.services.test_scoring import GROUP, World, received, request


@pytest.mark.parametrize("primary", [True, False])
async def test_a_score_without_its_film_is_given_at_once_and_again_with_it(primary: bool) -> None:
    """Not degraded; replaced once by the same scorer under another event id, and by a worker that comes after, too."""
    world = World(primary=primary)
    scorer = world.triton if primary else world.local
    scorer.late = True
    await world.handle(received(0, request()), received(1, request("q")))
    assert (world.stage.degraded, world.stage.waiting) == (0, 2)
    assert await world.stage.rescore() == 0, "not there yet"

    scorer.late = False
    assert await world.new_stage().rescore() == 2
    answered = sorted((one.patient, one.degraded, one.risk.unseen or "seen") for one in world.assessments if one.risk)
    assert answered == [(patient, False, how) for patient in ("p", "q") for how in ("late", "seen")]
    assert len({one.event_id for one in world.assessments}) == 4


async def test_who_looks_on_is_told_of_a_late_film_when_it_is_there() -> None:
    """Once, with the score that it belongs to."""
    world, told = World(), []
    world.stage = ScoringStage(
        *(world.offsets, world.degraded, world.log, world.triton, world.local, world.clock, GROUP),
        note=lambda requests, risks: told.extend(risk.unseen for risk in risks),
    )
    world.triton.late = True
    await world.handle(received(0, request()))
    assert told == []
    world.triton.late = False
    await world.stage.rescore()
    await world.stage.rescore()
    assert told == [None]


async def test_films_that_stay_away_are_asked_for_a_few_at_a_time() -> None:
    """Not all of them every few seconds; each comes to its turn, and all at once when they are there."""
    world, many = World(), [f"p{n}" for n in range(2 * LATE_AT_ONCE + 1)]
    world.triton.late = True
    await world.handle(*(received(n, request(patient)) for n, patient in enumerate(many)))
    for _ in range(3):
        assert await world.stage.rescore() == 0
    first, then = many[:LATE_AT_ONCE], many[LATE_AT_ONCE : 2 * LATE_AT_ONCE]
    assert world.triton.asked[1:] == [first, then, [many[-1], *first[:-1]]]

    world.triton.late = False
    assert (await world.stage.rescore(), world.stage.waiting) == (len(many), 0)


async def test_a_worker_that_comes_after_learns_which_scores_wait_for_a_film() -> None:
    """Its notes do not say it; once asked, they wait their turn, and who looks on is told when the film is there."""
    world, many, told = World(), [f"p{n}" for n in range(LATE_AT_ONCE + 1)], []
    world.triton.late = True
    await world.handle(*(received(n, request(patient)) for n, patient in enumerate(many)))
    after = ScoringStage(
        *(world.offsets, world.degraded, world.log, world.triton, world.local, world.clock, GROUP),
        note=lambda requests, risks: told.extend(request.patient for request in requests),
    )
    for _ in range(2):
        assert await after.rescore() == 0
    assert [len(asked) for asked in world.triton.asked] == [len(many), len(many), LATE_AT_ONCE]

    world.triton.late = False
    assert (await after.rescore(), sorted(told)) == (len(many), many)
