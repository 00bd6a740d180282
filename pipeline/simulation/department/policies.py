"""Who is read next, under each policy: a fixed order, or a choice that depends on the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from pipeline.domain import priorities
from pipeline.domain.site import DEFAULT, Policy
from pipeline.simulation.department.live import budgets
from pipeline.simulation.department.scenario import OTHERS, Rule, Scenario
from pipeline.simulation.department.streams import Floats, Ints, Studies

Heads = Sequence[tuple[int, int]]
"""(class, study) of the longest waiting study of each class that has one, the first class first."""

Prefer = Callable[[float, Heads], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A place among all studies that no waiting changes. due: minutes at which each must be read, where the policy is one of deadlines."""

    place: Ints
    due: Floats | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Classes, read first come first served within each, and the rule between them."""

    classes: Ints
    prefer: Prefer


def order(scenario: Scenario, studies: Studies, rule: Rule, site: Policy = DEFAULT) -> Fixed | Choice:
    """The rule applied to these studies; Readfirst's under the rules of `site`.

    What interrupts stands before all else; equals are read in order of arrival.
    """
    if rule.kind == "accumulating":
        weights = [rule.weights[ai.name] for ai in scenario.ais] + [rule.weights[OTHERS]]
        return _choice(studies, lambda now, heads: _most_accumulated(now, heads, weights, studies.arrival))
    if rule.kind == "hierarchy" and rule.max_wait is not None:
        cap = rule.max_wait
        return _choice(studies, lambda now, heads: _overdue_or_first(now - cap, heads, studies.arrival))
    if rule.kind in ("edf", "readfirst"):
        minutes = budgets(scenario, studies, rule, site) if rule.kind == "readfirst" else _minutes(scenario, studies, rule)
        due = studies.arrival + minutes
        return Fixed(_places(studies, due), due)
    if rule.kind == "fifo":  # earliest deadline first, with one budget for all
        return Fixed(_places(studies, studies.arrival), studies.arrival)
    return Fixed(_places(studies, _rank(scenario, studies, rule)))


def _rank(scenario: Scenario, studies: Studies, rule: Rule) -> Ints:
    if rule.kind == "order":
        ranks: Ints = np.array([priorities.ORDER.index(one.priority or DEFAULT.unordered) for one in scenario.orders] or [0])
        return ranks[studies.order]
    if rule.kind == "flag":
        return np.asarray(studies.flagged == len(scenario.ais), np.int64)
    return studies.flagged


def _minutes(scenario: Scenario, studies: Studies, rule: Rule) -> Floats:
    return np.array([rule.minutes[ai.name] for ai in scenario.ais] + [rule.minutes[OTHERS]], float)[studies.flagged]


def _places(studies: Studies, key: Floats | Ints) -> Ints:
    by_place = np.lexsort((np.arange(len(studies)), key, ~studies.interrupting))
    places = np.empty(len(studies), np.int64)
    places[by_place] = np.arange(len(studies))
    return places


# --- choices -----------------------------------------------------------------------------------------------------------------------


def _choice(studies: Studies, prefer: Prefer) -> Choice:
    """Class 0 is what interrupts, and is always taken; the AIs' classes follow."""

    def interrupting_first(now: float, heads: Heads) -> tuple[int, int]:
        return heads[0] if heads[0][0] == 0 else prefer(now, heads)

    return Choice(np.where(studies.interrupting, 0, 1 + studies.flagged), interrupting_first)


def _most_accumulated(now: float, heads: Heads, weights: list[float], arrival: Floats) -> tuple[int, int]:
    """Kleinrock's delay-dependent priority: each minute of waiting earns a study its class's weight."""
    return max(heads, key=lambda head: (weights[head[0] - 1] * (now - arrival[head[1]]), -head[1]))


def _overdue_or_first(since: float, heads: Heads, arrival: Floats) -> tuple[int, int]:
    """Those that came before `since` in order of arrival, before all others by class."""
    oldest = min(heads, key=lambda head: head[1])
    return oldest if arrival[oldest[1]] <= since else heads[0]


class ClassLine:
    """A line of classes, first come first served in each."""

    def __init__(self, choice: Choice) -> None:
        self._classes: list[int] = choice.classes.tolist()
        self._prefer = choice.prefer
        self._waiting: list[list[int]] = [[] for _ in range(max(self._classes, default=0) + 1)]

    def push(self, study: int) -> None:
        """A study that was put aside goes back before those that came after it."""
        heappush(self._waiting[self._classes[study]], study)

    def heads(self) -> list[tuple[int, int]]:
        """What may be taken."""
        return [(n, line[0]) for n, line in enumerate(self._waiting) if line]

    def take(self, now: float) -> int:
        """The one that the policy prefers at this moment."""
        heads = self.heads()
        chosen = heads[0] if len(heads) == 1 else self._prefer(now, heads)
        return heappop(self._waiting[chosen[0]])
