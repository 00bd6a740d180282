"""Two replays of a log beside each other: which studies moved, by how much, when, and because of what."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from statistics import fmean
from typing import Literal

import msgspec

from pipeline.replay.saved import Move, Saved, Summary
from schemas.time import Instant

Side = Literal["a", "b"]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A study that stands elsewhere in B, at the moment when the difference was largest.

    minutes: by which B's deadline is later (below 0: earlier); places: by which B's place is lower down (below 0: higher up); None where
    only one of the two lists it. first: since when it differs. cause, event_id: what led to the difference.
    """

    study: str
    what: str
    group: str
    accession: str | None
    first: Instant
    at: Instant
    minutes: float | None
    places: int | None
    cause: str
    event_id: str
    why_a: str
    why_b: str
    listed: Literal["both", "only a", "only b"]


class ByClass(msgspec.Struct, frozen=True, kw_only=True):
    """Studies of one class: how many were listed in either, how many B brings forward or puts back, and by how many minutes on average."""

    group: str
    studies: int
    earlier: int
    later: int
    mean_minutes: float


class FirstDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The event after which the two histories differ for the first time, and what each said; None: nothing."""

    at: Instant
    event_id: str
    study: str
    a: Move | None
    b: Move | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """moved: largest difference first. gained, lost: escalation steps that only B, or only A, has, as (study, step)."""

    a: Summary
    b: Summary
    same: bool
    studies: int
    moved: list[Moved]
    classes: list[ByClass]
    gained: list[tuple[str, str]]
    lost: list[tuple[str, str]]


def compare(a: Saved, b: Saved) -> Comparison:
    """B against A."""
    watch = _Watch()
    for side, move in _together(a.moves, b.moves):
        watch.take(side, move)
    watch.settle()
    moved = sorted(watch.found.values(), key=_size, reverse=True)
    groups = {move.study: move.group for move in (*a.moves, *b.moves)}
    before, after = _steps(a.summary), _steps(b.summary)
    return Comparison(
        a=a.summary,
        b=b.summary,
        same=a.summary.digest == b.summary.digest,
        studies=len(groups),
        moved=moved,
        classes=list(_classes(groups, moved)),
        gained=sorted((after - before).elements()),
        lost=sorted((before - after).elements()),
    )


def first_difference(a: Saved, b: Saved) -> FirstDifference | None:
    """The earliest of each study's first difference; None where the histories are the same."""
    histories: defaultdict[str, tuple[list[Move], list[Move]]] = defaultdict(lambda: ([], []))
    for side, move in _together(a.moves, b.moves):
        histories[move.study][side == "b"].append(move)
    found = [difference for study, pair in histories.items() if (difference := _first(study, *pair))]
    return min(found, key=lambda one: (one.at, one.event_id, one.study), default=None)


def _first(study: str, a: Sequence[Move], b: Sequence[Move]) -> FirstDifference | None:
    for one, other in zip_longest(a, b):
        if one != other:
            told = min((move for move in (one, other) if move is not None), key=lambda move: move.at)
            return FirstDifference(at=told.at, event_id=told.event_id, study=study, a=one, b=other)
    return None


class _Watch:
    """Both lists as time goes on. What happened at one moment is judged when both have taken it in."""

    def __init__(self) -> None:
        self.found: dict[str, Moved] = {}
        self._now: dict[Side, dict[str, Move]] = {"a": {}, "b": {}}
        self._order: dict[Side, list[tuple[datetime, str]]] = {"a": [], "b": []}
        self._first: dict[str, datetime] = {}
        self._changed: defaultdict[str, list[Move]] = defaultdict(list)
        self._at: datetime | None = None

    def take(self, side: Side, move: Move) -> None:
        """The next change of a side."""
        if self._at is not None and move.at > self._at:
            self.settle()
        self._at = move.at
        known, order = self._now[side], self._order[side]
        if (before := known.pop(move.study, None)) is not None:
            order.pop(bisect_left(order, (before.due_at, before.study)))
        if move.closed is None:
            known[move.study] = move
            insort(order, (move.due_at, move.study))
        self._changed[move.study].append(move)

    def settle(self) -> None:
        """Judges the studies that have just changed."""
        for study, moves in self._changed.items():
            difference = self._difference(study, _cause(moves))
            if difference is None:
                self._first.pop(study, None)
            elif study not in self.found or _size(difference) > _size(self.found[study]):
                self.found[study] = difference
        self._changed.clear()

    def _difference(self, study: str, cause: Move) -> Moved | None:
        a, b = self._now["a"].get(study), self._now["b"].get(study)
        if (a is None and b is None) or (a is not None and b is not None and a.due_at == b.due_at):
            return None
        there = a or b
        assert there is not None
        first = self._first.setdefault(study, cause.at)
        return Moved(
            study=study,
            what=there.what,
            group=there.group,
            accession=there.accession,
            first=first,
            at=cause.at,
            minutes=None if a is None or b is None else round((b.due_at - a.due_at).total_seconds() / 60, 1),
            places=None if a is None or b is None else self._place("b", b) - self._place("a", a),
            cause=cause.cause,
            event_id=cause.event_id,
            why_a=a.why if a else "",
            why_b=b.why if b else "",
            listed="only b" if a is None else "only a" if b is None else "both",
        )

    def _place(self, side: Side, move: Move) -> int:
        return bisect_left(self._order[side], (move.due_at, move.study))


def _together(a: Sequence[Move], b: Sequence[Move]) -> Iterator[tuple[Side, Move]]:
    """Both histories by time; each study's changes in their order."""
    told: list[tuple[Side, Move]] = [*(("a", move) for move in a), *(("b", move) for move in b)]
    yield from sorted(told, key=lambda each: each[1].at)


def _cause(moves: Sequence[Move]) -> Move:
    """Of what both sides did with a study at one moment: what one of them did alone, and of that what moved it furthest."""
    alone = [move for move in moves if moves.count(move) == 1] or moves
    return max(reversed(alone), key=_shift)


def _shift(move: Move) -> float:
    """Seconds by which the deadline moved; infinite where the study came or went."""
    if move.due_before is None or move.closed is not None:
        return math.inf
    return abs((move.due_at - move.due_before).total_seconds())


def _size(moved: Moved) -> tuple[bool, float, int]:
    return moved.minutes is None, abs(moved.minutes or 0.0), abs(moved.places or 0)


def _classes(groups: dict[str, str], moved: Sequence[Moved]) -> Iterator[ByClass]:
    minutes: defaultdict[str, list[float]] = defaultdict(list)
    for one in moved:
        if one.minutes is not None:
            minutes[groups[one.study]].append(one.minutes)
    for group, studies in sorted(Counter(groups.values()).items()):
        there = minutes[group]
        yield ByClass(
            group=group,
            studies=studies,
            earlier=sum(one < 0 for one in there),
            later=sum(one > 0 for one in there),
            mean_minutes=round(fmean(there), 1) if there else 0.0,
        )


def _steps(summary: Summary) -> Counter[tuple[str, str]]:
    """Those by which somebody is told."""
    told = (step for step in summary.escalations if step["step"] in ("notified", "escalated"))
    return Counter((str(step["study_uid"]), f"{step['step']}: {step['role']} ({step['trigger']})") for step in told)
