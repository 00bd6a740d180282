"""`readfirst lag` for scripts: its exit code, and that the terminal says what the page says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.cli.lag import exit_code, spark
from pipeline.domain.stages import CONTEXT, RANKING
from pipeline.services.conditions import Operations, StageStanding

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
UP = {"postgres": True, "kafka": True}


def stage(seconds: float) -> StageStanding:
    """The context stage, so far behind."""
    return StageStanding(CONTEXT, [], int(seconds > 0), seconds, False, 0, None)


CALM = StageStanding(RANKING, [], 0, 0.0, False, 0, None)


@pytest.mark.parametrize(
    ("seen", "threshold", "code"),
    [
        (Operations(NOON, stages=[CALM, stage(0.0)], up=UP), 0.0, 0),
        (Operations(NOON, stages=[CALM, stage(5.0)], up=UP), 5.0, 0),
        (Operations(NOON, stages=[CALM, stage(5.1)], up=UP), 5.0, 1),
        (Operations(NOON, stages=[CALM, stage(5.1)], up=UP), 60.0, 0),
        (Operations(NOON, stages=[CALM, stage(99.0)], up={**UP, "kafka": False}), 5.0, 2),
        (Operations(NOON, stages=[], up={"postgres": False}), 5.0, 2),
    ],
)
def test_the_exit_code(seen: Operations, threshold: float, code: int) -> None:
    """0: none is behind by more than the threshold; 1: one is; 2: a store does not answer, whatever was last known."""
    assert exit_code(seen, threshold) == code


def test_a_short_stop_is_seen_in_the_line_of_bars() -> None:
    """Of fifteen minutes of looks, one peak; a calm line has none."""
    assert spark([0.0] * 200 + [60.0] + [0.0] * 200).count("█") == 1
    assert spark([0.0] * 400).strip() == ""
