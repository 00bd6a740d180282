"""Discrete events of a reading room whose readers differ: in what they can read, and in their hours.

A shift that ends lets the study on the table be finished. A study put aside is resumed, at no loss, by whoever takes it next.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import numpy as np

from pipeline.simulation.department.policies import Choice, Fixed
from pipeline.simulation.department.scenario import Scenario
from pipeline.simulation.department.streams import Floats, Ints, Studies

_DAY = 1440.0


@dataclass(slots=True)
class _Reader:
    groups: tuple[int, ...]
    hours: tuple[float, float] | None
    study: int = -1
    begun: float = 0.0
    turn: int = 0
    """counts what was put on the table: a completion of an earlier turn is void"""

    def on_duty(self, now: float) -> bool:
        if self.hours is None:
            return True
        begin, end = self.hours
        hour = now % _DAY / 60
        return begin <= hour < end if begin < end else hour >= begin or hour < end


def finish(scenario: Scenario, studies: Studies, minutes: Floats, rule: Fixed | Choice) -> tuple[Floats, Floats]:
    """When each study is first begun, and finished."""
    return _Floor(scenario, studies, minutes, rule).run()


class _Floor:
    def __init__(self, scenario: Scenario, studies: Studies, minutes: Floats, rule: Fixed | Choice) -> None:
        names = [group.name for group in scenario.groups]
        self._readers = [
            _Reader(tuple(names.index(name) for name in sorted(scenario.reads(kind))), kind.hours)
            for kind in scenario.readers
            for _ in range(kind.count)
        ]
        # the most specialised takes a study first, so that the others stay free for what only they can read
        self._readers.sort(key=lambda reader: len(reader.groups))
        self._arrival, self._left = studies.arrival.tolist(), minutes.tolist()
        self._group: list[int] = studies.group.tolist()
        self._lines = _lines(rule, len(names), self._group)
        self._level = _levels(scenario, studies, rule)
        self._last: list[int] = (rule.place if isinstance(rule, Fixed) else np.arange(len(studies))).tolist()
        self._begun, self._finished = [-1.0] * len(studies), [0.0] * len(studies)
        self._events: list[tuple[float, int, int, int]] = []  # (time, number, reader, turn); turn -1: a shift begins
        self._number = count()

    def run(self) -> tuple[Floats, Floats]:
        for n, reader in enumerate(self._readers):
            if reader.hours is not None:
                self._at(reader.hours[0] * 60, n, -1)
        coming, open_studies = 0, len(self._arrival)
        while open_studies:
            if coming < len(self._arrival) and (not self._events or self._arrival[coming] < self._events[0][0]):
                self._arrives(coming, self._arrival[coming])
                coming += 1
                continue
            now, _, n, turn = heappop(self._events)
            reader = self._readers[n]
            if turn < 0:
                self._at(now + _DAY, n, -1)
            elif turn != reader.turn:
                continue
            else:
                self._finished[reader.study] = now
                reader.study = -1
                open_studies -= 1
            self._next(n, now)
        return np.array(self._begun), np.array(self._finished)

    def _at(self, time: float, reader: int, turn: int) -> None:
        heappush(self._events, (time, next(self._number), reader, turn))

    def _arrives(self, study: int, now: float) -> None:
        self._lines.push(study)
        able = [n for n, reader in enumerate(self._readers) if self._group[study] in reader.groups]
        for n in able:
            if self._readers[n].study < 0 and self._readers[n].on_duty(now):
                self._next(n, now)
                return
        if self._level is not None:
            self._interrupt(able, study, now)

    def _interrupt(self, able: list[int], study: int, now: float) -> None:
        level = self._level
        assert level is not None
        busy = [n for n in able if self._readers[n].study >= 0 and self._readers[n].on_duty(now)]
        worst = max(busy, key=lambda n: (level[self._readers[n].study], self._last[self._readers[n].study]), default=None)
        if worst is None or level[study] >= level[self._readers[worst].study]:
            return
        reader = self._readers[worst]
        self._left[reader.study] -= now - reader.begun
        self._lines.push(reader.study)
        reader.study = -1
        self._next(worst, now)

    def _next(self, n: int, now: float) -> None:
        """The reader, if free and on duty, takes the best of what he can read."""
        reader = self._readers[n]
        if reader.study >= 0 or not reader.on_duty(now):
            return
        study = self._lines.take(reader.groups, now)
        if study < 0:
            return
        reader.study, reader.begun, reader.turn = study, now, reader.turn + 1
        if self._begun[study] < 0:
            self._begun[study] = now
        self._at(now + self._left[study], n, reader.turn)


class _PlaceLines:
    """One line a group, by place."""

    def __init__(self, place: Ints, groups: int, group: list[int]) -> None:
        self._place, self._group = place.tolist(), group
        self._study = np.argsort(place).tolist()
        self._waiting: list[list[int]] = [[] for _ in range(groups)]

    def push(self, study: int) -> None:
        heappush(self._waiting[self._group[study]], self._place[study])

    def take(self, groups: tuple[int, ...], _now: float) -> int:
        lines = [self._waiting[n] for n in groups if self._waiting[n]]
        return self._study[heappop(min(lines, key=lambda line: line[0]))] if lines else -1


class _ChoiceLines:
    """One line a group and class; of a class, the study that came first stands for it."""

    def __init__(self, choice: Choice, groups: int, group: list[int]) -> None:
        self._classes, self._prefer, self._group = choice.classes.tolist(), choice.prefer, group
        self._waiting: list[list[list[int]]] = [[[] for _ in range(groups)] for _ in range(max(self._classes, default=0) + 1)]

    def push(self, study: int) -> None:
        heappush(self._waiting[self._classes[study]][self._group[study]], study)

    def take(self, groups: tuple[int, ...], now: float) -> int:
        heads = []
        for n, lines in enumerate(self._waiting):
            first = min((lines[group][0] for group in groups if lines[group]), default=-1)
            if first >= 0:
                heads.append((n, first))
        if not heads:
            return -1
        chosen, study = self._prefer(now, heads)
        return heappop(self._waiting[chosen][self._group[study]])


def _lines(rule: Fixed | Choice, groups: int, group: list[int]) -> _PlaceLines | _ChoiceLines:
    return _PlaceLines(rule.place, groups, group) if isinstance(rule, Fixed) else _ChoiceLines(rule, groups, group)


def _levels(scenario: Scenario, studies: Studies, rule: Fixed | Choice) -> list[int] | None:
    """Who interrupts whom: the lower level does."""
    if scenario.preemption == "none":
        return None
    if scenario.preemption == "interrupting" or isinstance(rule, Choice):
        levels: list[int] = (~studies.interrupting).astype(np.int64).tolist()
        return levels
    by_place: list[int] = rule.place.tolist()
    return by_place
