"""How often a source sends at each hour of the day, learned from what it sent, and whether its silence is beyond that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
MISSED_MIN = 12.0
"""So many messages must have been due in a silence: chance alone leaves such a gap once in 160,000 times (e^-12)."""
SHORTEST = timedelta(minutes=2)
"""No silence under this is one: sources restart, and bursts have gaps."""
LEARN_FOR = timedelta(hours=6)
"""A source younger than this is not judged yet."""

_NUMBER = re.compile(r"\d{4,}")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Messages an hour that a source sends at each of the 24 hours of the local day; None for an hour never lived through."""

    hourly: tuple[float | None, ...]

    def due_between(self, start: datetime, end: datetime, zone: ZoneInfo) -> float:
        """Messages to be expected from `start` to `end`; at an hour not known yet none is."""
        due, at = 0.0, start
        while at < end:
            until = min(_next_hour(at), end)
            due += (self.hourly[at.astimezone(zone).hour] or 0.0) * ((until - at) / HOUR)
            at = until
        return due


@dataclass(frozen=True, slots=True)
class Silence:
    """How a source stands: time since its last message, messages that were due meanwhile, and the judgement."""

    seconds: float
    missed: float
    silent: bool
    learning: bool


def learn(hours: Mapping[datetime, int], first: datetime, last: datetime, zone: ZoneInfo) -> Rhythm:
    """From counts by hour (its beginning, UTC) of messages between `first` and `last`: what came after `last` is judged, not learned."""
    counts, lived = [0.0] * 24, [0.0] * 24
    at = first
    while at < last:
        until = min(_next_hour(at), last)
        hour = at.astimezone(zone).hour
        lived[hour] += (until - at) / HOUR
        counts[hour] += hours.get(at.replace(minute=0, second=0, microsecond=0), 0)
        at = until
    return Rhythm(tuple(count / span if span > 0 else None for count, span in zip(counts, lived, strict=True)))


def judge(rhythm: Rhythm, first: datetime, last: datetime, now: datetime, zone: ZoneInfo) -> Silence:
    """Silent: long enough, and too many messages are missing for chance."""
    span = max(now - last, timedelta())
    learning = last - first < LEARN_FOR
    missed = 0.0 if learning else rhythm.due_between(last, now, zone)
    return Silence(span.total_seconds(), missed, not learning and span >= SHORTEST and missed >= MISSED_MIN, learning)


def _next_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0) + HOUR


def group_of(source: str) -> str:
    """Sources that differ in a long number are one: a hundred bedside monitors have one rhythm, and no number of a person is a name."""
    return _NUMBER.sub("#", source)
