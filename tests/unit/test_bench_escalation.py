"""What the bench of alerts under kill -9 says of its agent's lives."""

from __future__ import annotations

from pipeline.benchmarks import escalation


def test_a_kill_meets_the_agent_at_work_or_not() -> None:
    """Three lives of two seconds: one at work to its end, one that had gone quiet, one that never came up."""
    found = escalation.under_fire([0.0, 2.0, 4.0, 6.0], [0.5, 1.9, 2.6, 2.7, 3.0])

    assert (found["kills"], found["kills_after_a_step"], found["kills_at_work"]) == (3, 2, 1)
    assert found["sent_in_a_life"] == {"least": 0, "median": 2, "most": 3}
    assert found["first_step_after_s"] == 0.55
