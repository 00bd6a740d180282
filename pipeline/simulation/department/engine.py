"""Discrete events of readers who are all alike and always there: three short loops, made for speed.

`floor` does the same for readers with skills and shifts. Whatever the loop, a study once in `order` is known by its place in it.
All arrays are in order of arrival, in minutes; an idle reader never waits while a study does.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Protocol

import numpy as np

from pipeline.simulation.department.streams import Floats, Ints


class Line(Protocol):
    """Studies that wait, where the next one depends on the time at which it is taken."""

    def push(self, study: int) -> None:
        """A study arrives; called in order of arrival."""

    def take(self, now: float) -> int:
        """The next study to be read, which leaves the line. Called only while one waits."""


def begin_in_order(arrival: Floats, minutes: Floats, order: Ints, readers: int) -> Floats:
    """When each study is begun, where a begun one is finished. order: each study's place among all, unique."""
    arrivals, takes, places, studies = arrival.tolist(), minutes.tolist(), order.tolist(), _inverse(order).tolist()
    begun = [0.0] * len(arrivals)
    free, coming, total = [0.0] * readers, 0, len(arrivals)
    waiting: list[int] = []
    push, pop, put_back = heappush, heappop, heapreplace
    for _ in range(total):
        now = free[0]
        if not waiting and arrivals[coming] > now:
            now = arrivals[coming]
        while coming < total and arrivals[coming] <= now:
            push(waiting, places[coming])
            coming += 1
        study = studies[pop(waiting)]
        begun[study] = now
        put_back(free, now + takes[study])
    return np.array(begun)


def begin_by_choice(arrival: Floats, minutes: Floats, line: Line, readers: int) -> Floats:
    """The same, where the line itself says who is next."""
    arrivals, takes = arrival.tolist(), minutes.tolist()
    begun = [0.0] * len(arrivals)
    free, coming, total = [0.0] * readers, 0, len(arrivals)
    for read in range(total):
        now = free[0]
        if coming == read and arrivals[coming] > now:
            now = arrivals[coming]
        while coming < total and arrivals[coming] <= now:
            line.push(coming)
            coming += 1
        study = line.take(now)
        begun[study] = now
        heapreplace(free, now + takes[study])
    return np.array(begun)


def finish_preemptive(arrival: Floats, minutes: Floats, order: Ints, level: Ints, readers: int) -> Floats:
    """When each study is finished, where one is put aside for an arrival of a lower `level` and resumed later, at no loss.

    level: never higher for a study with a lower place in `order`.
    """
    loop = _finish_one_reader if readers == 1 else _finish_many
    return np.array(loop(arrival.tolist(), minutes.tolist(), order.tolist(), _inverse(order).tolist(), level.tolist(), readers))


def _finish_one_reader(
    arrivals: list[float], left: list[float], places: list[int], studies: list[int], level: list[int], _readers: int
) -> list[float]:
    finished = [0.0] * len(arrivals)
    waiting: list[int] = []
    push, pop, never = heappush, heappop, float("inf")
    reading, done = -1, never
    for study, now in enumerate(arrivals):
        while done <= now:
            finished[reading] = done
            if waiting:
                reading = studies[pop(waiting)]
                done += left[reading]
            else:
                reading, done = -1, never
        if reading < 0:
            reading, done = study, now + left[study]
        elif level[study] < level[reading]:
            left[reading] = done - now
            push(waiting, places[reading])
            reading, done = study, now + left[study]
        else:
            push(waiting, places[study])
    while reading >= 0:
        finished[reading] = done
        reading = studies[pop(waiting)] if waiting else -1
        done += left[reading]
    return finished


def _finish_many(
    arrivals: list[float], left: list[float], places: list[int], studies: list[int], level: list[int], readers: int
) -> list[float]:
    finished = [0.0] * len(arrivals)
    waiting: list[int] = []
    table: list[tuple[float, int]] = []  # (done, place) of what is being read: a heap
    push, pop = heappush, heappop
    for study, now in enumerate(arrivals):
        while table and table[0][0] <= now:
            done, place = pop(table)
            finished[studies[place]] = done
            if waiting:
                place = pop(waiting)
                push(table, (done + left[studies[place]], place))
        if len(table) < readers:
            push(table, (now + left[study], places[study]))
            continue
        worst = max(range(readers), key=lambda n: table[n][1])
        done, place = table[worst]
        if level[study] < level[studies[place]]:
            left[studies[place]] = done - now
            push(waiting, place)
            table[worst] = (now + left[study], places[study])
            heapify(table)
        else:
            push(waiting, places[study])
    while table:
        done, place = pop(table)
        finished[studies[place]] = done
        if waiting:
            place = pop(waiting)
            push(table, (done + left[studies[place]], place))
    return finished


def _inverse(order: Ints) -> Ints:
    studies = np.empty_like(order)
    studies[order] = np.arange(len(order))
    return studies
