"""Mean waits of priority queues by formula: what the simulator is held to.

A wait is the time in the department less the time being read, so an interrupted study waits while it is put aside.
Sources: A. Cobham, Operations Research 2 (1954) 70; L. Kleinrock, Queueing Systems II (1976), chapter 3; M. Neuts, Matrix-Geometric
Solutions (1981), chapter 3; G. Latouche, V. Ramaswami, J. Appl. Prob. 30 (1993) 650 (logarithmic reduction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stream:
    """Studies of one priority. rate: arrivals a minute. mean: minutes to read one; exponential unless a second moment is given."""

    rate: float
    mean: float
    second_moment: float | None = None

    @property
    def load(self) -> float:
        """Share of one reader's time."""
        return self.rate * self.mean

    @property
    def residual(self) -> float:
        """Mean reading left, in minutes, that these studies alone would show to an arrival at a random moment."""
        return self.rate * (2 * self.mean**2 if self.second_moment is None else self.second_moment) / 2


def mixture(streams: Sequence[Stream]) -> Stream:
    """Several kinds of study that wait in one line."""
    rate = sum(one.rate for one in streams)
    if rate == 0:
        return Stream(0, 0, 0)
    return Stream(rate, sum(one.load for one in streams) / rate, 2 * sum(one.residual for one in streams) / rate)


def fifo(streams: Sequence[Stream]) -> float:
    """One reader, first come first served (M/G/1, Pollaczek and Khinchine): minutes."""
    _must_keep_up(sum(one.load for one in streams))
    return sum(one.residual for one in streams) / (1 - sum(one.load for one in streams))


def non_preemptive(streams: Sequence[Stream]) -> list[float]:
    """One reader who finishes what was begun; highest priority first (M/G/1, Cobham 1954): minutes a priority."""
    residual = sum(one.residual for one in streams)
    return [residual / (above * through) for above, through in _left_over(streams)]


def preemptive_resume(streams: Sequence[Stream]) -> list[float]:
    """One reader who puts a study aside for a higher one and resumes it later (M/G/1, Kleinrock II, 3.5): minutes a priority."""
    residuals = accumulate(one.residual for one in streams)
    return [
        one.mean / above - one.mean + residual / (above * through)
        for one, residual, (above, through) in zip(streams, residuals, _left_over(streams), strict=True)
    ]


def _left_over(streams: Sequence[Stream]) -> list[tuple[float, float]]:
    """What the priorities above, and those through this one, leave of the reader's time."""
    through = list(accumulate(one.load for one in streams))
    _must_keep_up(through[-1])
    return list(zip((1 - load for load in [0.0, *through[:-1]]), (1 - load for load in through), strict=True))


def erlang_c(readers: int, load: float) -> float:
    """Probability that a study waits (M/M/c). load: offered, in readers. By the stable recursion of Erlang's B."""
    _must_keep_up(load / readers)
    blocked = 1.0
    for n in range(1, readers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / readers * (1 - blocked))


def fifo_many(readers: int, stream: Stream) -> float:
    """Several readers, first come first served (M/M/c): minutes."""
    return erlang_c(readers, stream.load) * stream.mean / (readers - stream.load)


def below_interruptions(readers: int, streams: Sequence[Stream], interrupting: Stream) -> list[float]:
    """Several readers, preemptive-resume, all streams read in one mean time, below studies that interrupt everything: minutes a priority.

    The streams 1..k together are a queue of their own that the ones below do not touch, and whatever the order among them their number is
    the same (equal exponential times). So the number of stream k is the difference of two such queues, and Little's law gives its wait.
    """
    if len({one.mean for one in streams}) != 1:
        raise ValueError("all streams need the same mean reading time")
    mean, waits, before = streams[0].mean, [], 0.0
    for rate, stream in zip(accumulate(one.rate for one in streams), streams, strict=True):
        number = _number_below(readers, Stream(rate, mean), interrupting)
        waits.append((number - before) / stream.rate - mean)
        before = number
    return waits


def _number_below(readers: int, stream: Stream, interrupting: Stream) -> float:
    """Mean number of studies in the department under others that interrupt them (M/M/c in two preemptive classes).

    A quasi-birth-death process: its level is the number of these studies, its phase the number of interrupting ones, cut where their
    geometric tail is below 1e-13.
    """
    if interrupting.rate == 0:
        return stream.rate * (fifo_many(readers, stream) + stream.mean)
    _must_keep_up((stream.load + interrupting.load) / readers)
    share = interrupting.load / readers
    phases = readers + 2 + math.ceil(-30 / math.log(share))
    up = np.eye(phases) * stream.rate
    levels = [_phase_moves(phases, readers, stream, interrupting, level) for level in range(readers + 1)]
    ratio = _rate_matrix(up, *levels[readers])
    vectors = _boundary(up, levels, ratio)
    rest = np.linalg.inv(np.eye(phases) - ratio)
    below = sum(level * vectors[level].sum() for level in range(readers))
    return float(below + (vectors[readers] @ (readers * rest + ratio @ rest @ rest)).sum())


def _phase_moves(phases: int, readers: int, stream: Stream, interrupting: Stream, level: int) -> tuple[Matrix, Matrix]:
    """(moves within this level, moves one level down) of the generator."""
    phase = np.arange(phases)
    down = np.diag(np.minimum(level, np.maximum(readers - phase, 0)) / stream.mean)
    arrives = np.diag(np.full(phases - 1, interrupting.rate), 1)
    leaves = np.diag(np.minimum(phase[1:], readers) / interrupting.mean, -1)
    inside = arrives + leaves
    return inside - np.diag(inside.sum(1) + down.sum(1) + stream.rate), down


def _rate_matrix(up: Matrix, inside: Matrix, down: Matrix) -> Matrix:
    """Neuts' R of the levels from `readers` on, by logarithmic reduction."""
    identity = np.eye(len(up))
    step = np.linalg.inv(-inside)
    high, low = step @ up, step @ down
    found, product = low.copy(), high.copy()
    for _ in range(60):
        both = np.linalg.inv(identity - high @ low - low @ high)
        high, low = both @ high @ high, both @ low @ low
        found += product @ low
        product = product @ high
        if np.abs(1 - found.sum(1)).max() < 1e-14 or product.max() < 1e-15:
            break
    return np.asarray(up @ np.linalg.inv(-(inside + up @ found)))


def _boundary(up: Matrix, levels: list[tuple[Matrix, Matrix]], ratio: Matrix) -> list[Matrix]:
    """Stationary vectors of the levels 0..readers; above, each is `ratio` times the one before."""
    size, top = len(up), len(levels) - 1
    balance = np.zeros((size * (top + 1), size * (top + 1)))
    for level, (inside, down) in enumerate(levels):
        at = slice(level * size, (level + 1) * size)
        balance[at, at] = inside + (ratio @ down if level == top else 0)
        if level:
            before = slice((level - 1) * size, level * size)
            balance[before, at] = up
            balance[at, before] = down
    weight = np.ones(size * (top + 1))
    weight[top * size :] = np.linalg.inv(np.eye(size) - ratio).sum(1)
    balance[:, 0] = weight  # one balance equation follows from the others; the probabilities must sum to one
    right = np.zeros(len(balance))
    right[0] = 1
    return np.split(np.linalg.solve(balance.T, right), top + 1)


def _must_keep_up(load: float) -> None:
    if not load < 1:
        raise ValueError(f"the readers cannot keep up: load {load:.3f} of their time, so the list grows without end")
