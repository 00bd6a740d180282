"""How long a study can be kept waiting by others, and whether a run kept to it.

Theorem. Let each study be due at its arrival plus a budget, and let a free reader take the study due earliest of those he can read. Then
a study is overtaken only by studies due earlier. Proof: of two that wait for the same readers, the one due earlier is taken first; so if
a study that came later was begun while this one waited, it was due earlier. Corollary: with no budget below b, a study with budget B
is overtaken by nothing that arrives more than B - b minutes after it, however urgent. What interrupts every reading is outside of it.
"""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.simulation.department.scenario import Scenario
from pipeline.simulation.department.streams import Bools, Floats, Ints, Studies

STATEMENT = "a study is overtaken only by studies due earlier"


class Bound(msgspec.Struct, frozen=True):
    """window: minutes after its own arrival in which what overtakes the longest-dated study must have arrived; None: no bound.

    latest: the latest that one arrived which did. broken: studies that were kept waiting by one due later (None: the policy has no
    deadlines; must be 0). Both None where the run did not keep when studies were begun.
    """

    window: float | None
    latest: float | None
    broken: int | None

    @property
    def words(self) -> str:
        """One line."""
        seen = "begins not kept" if self.latest is None else f"latest overtaker came {self.latest:.0f} min later"
        if self.window is None:
            return f"no bound; {seen}"
        broken = "" if self.broken is None else f"; broken {self.broken} times"
        return f"{STATEMENT}: none that comes over {self.window:.0f} min later ({seen}{broken})"


def bound(scenario: Scenario, studies: Studies, begun: Floats | None, due: Floats | None) -> Bound:
    """Of one run. Compared are studies that the same readers read, less the interrupting ones."""
    window = None if due is None else float(np.ptp((due - studies.arrival)[~studies.interrupting]))
    if begun is None:
        return Bound(window, None, None)
    lines = [line for line in (np.flatnonzero(one & ~studies.interrupting) for one in _lines(scenario, studies.group)) if len(line)]
    latest = max((_latest(studies.arrival[line], begun[line]) for line in lines), default=0.0)
    if due is None:
        return Bound(None, latest, None)
    return Bound(window, latest, sum(broken(studies.arrival[line], begun[line], due[line]) for line in lines))


def _lines(scenario: Scenario, group: Ints) -> list[Bools]:
    alike: dict[tuple[bool, ...], list[int]] = {}
    for n, one in enumerate(scenario.groups):
        alike.setdefault(tuple(one.name in scenario.reads(readers) for readers in scenario.readers), []).append(n)
    return [np.isin(group, members) for members in alike.values()]


def _latest(arrival: Floats, begun: Floats) -> float:
    """How long after a study's own arrival the latest one came that was begun before it."""
    order = np.argsort(begun, kind="stable")
    return float((np.maximum.accumulate(arrival[order]) - arrival[order]).max())


def broken(arrival: Floats, begun: Floats, due: Floats) -> int:
    """Studies while whose waiting one due later was begun.

    Studies in order of their begin; those begun while a study waited are a run of it, whose latest due time a sparse table gives.
    """
    order = np.argsort(begun, kind="stable")
    begins, deadlines = begun[order], due[order]
    first = np.searchsorted(begins, arrival[order], side="right")  # begun after it was there
    last = np.searchsorted(begins, begins, side="left")  # and before it was begun
    found, tables = np.full(len(order), -np.inf), _maxima(deadlines)
    length = last - first
    waited = length > 0
    level = np.zeros(len(order), np.int64)
    level[waited] = np.log2(length[waited]).astype(np.int64)
    for n, table in enumerate(tables):
        mine = waited & (level == n)
        found[mine] = np.maximum(table[first[mine]], table[last[mine] - (1 << n)])
    return int((found > deadlines + 1e-9).sum())


def _maxima(values: Floats) -> list[Floats]:
    """Table n holds, for each place, the highest of the 2**n values from there on."""
    tables = [values]
    while (width := 1 << (len(tables) - 1)) * 2 <= len(values):
        tables.append(np.maximum(tables[-1][:-width], tables[-1][width:]))
    return tables
