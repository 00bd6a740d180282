"""One policy on one set of studies."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from pipeline.domain.site import DEFAULT, Policy
from pipeline.simulation.department import engine, floor
from pipeline.simulation.department.policies import Choice, ClassLine, Fixed, order
from pipeline.simulation.department.scenario import Rule, Scenario
from pipeline.simulation.department.streams import Floats, Studies


@dataclass(frozen=True, slots=True)
class Run:
    """All in minutes, one element a study. begun is None where a fast loop with interruptions did not keep it.

    seconds: of this machine, for the policy's decisions and the events.
    """

    rule: Rule
    minutes: Floats
    finished: Floats
    begun: Floats | None
    due: Floats | None
    seconds: float

    def wait(self, studies: Studies) -> Floats:
        """Time in the department less the time being read."""
        return np.maximum(self.finished - studies.arrival - self.minutes, 0.0)  # differences of large sums: a zero may be -1e-9


def run(scenario: Scenario, studies: Studies, rule: Rule, site: Policy = DEFAULT) -> Run:
    """Deterministic: all chance is in the studies. site: the rules by which Readfirst ranks."""
    started = perf_counter()
    minutes = studies.minutes_with_ai if rule.uses_ai else studies.minutes
    policy = order(scenario, studies, rule, site)
    begun, finished = _events(scenario, studies, minutes, policy)
    due = policy.due if isinstance(policy, Fixed) else None
    return Run(rule, minutes, finished, begun, due, perf_counter() - started)


def _events(scenario: Scenario, studies: Studies, minutes: Floats, policy: Fixed | Choice) -> tuple[Floats | None, Floats]:
    if not _alike(scenario) or (isinstance(policy, Choice) and scenario.preemption != "none"):
        return floor.finish(scenario, studies, minutes, policy)
    readers = sum(one.count for one in scenario.readers)
    if isinstance(policy, Choice):
        begun = engine.begin_by_choice(studies.arrival, minutes, ClassLine(policy), readers)
        return begun, begun + minutes
    if scenario.preemption == "none":
        begun = engine.begin_in_order(studies.arrival, minutes, policy.place, readers)
        return begun, begun + minutes
    level = policy.place if scenario.preemption == "all" else (~studies.interrupting).astype(np.int64)
    return None, engine.finish_preemptive(studies.arrival, minutes, policy.place, level, readers)


def _alike(scenario: Scenario) -> bool:
    """Whether every reader reads everything, at all hours."""
    everything = frozenset(group.name for group in scenario.groups)
    return all(one.hours is None and scenario.reads(one) == everything for one in scenario.readers)
