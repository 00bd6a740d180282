"""Small departments for tests."""

from __future__ import annotations

from typing import Any

from pipeline.simulation.department.loading import parse
from pipeline.simulation.department.scenario import Scenario

AI = {"name": "AI", "group": "CT", "finds": "bleed", "sensitivity": 0.9, "specificity": 0.8}
GROUP = {"name": "CT", "share": 1.0, "reading": {"mean": 10}, "diseases": [{"name": "bleed", "prevalence": 0.2}]}


def document(**changes: Any) -> dict[str, Any]:
    """One reader, one AI, traffic 0.8; `changes` replace whole tables."""
    return {
        "name": "small",
        "title": "small",
        "arrivals": {"traffic": 0.8},
        "groups": [GROUP],
        "ais": [AI],
        "policies": [{"name": "FIFO", "kind": "fifo"}, {"name": "ours", "kind": "readfirst"}],
        **changes,
    }


def department(**changes: Any) -> Scenario:
    """The same, validated."""
    return parse(document(**changes))
