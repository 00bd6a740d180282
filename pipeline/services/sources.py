"""What is known of each source: its rhythm, its last message, and whether it is silent beyond its rhythm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.domain.rhythm import Rhythm, Silence, group_of, judge, learn
from pipeline.ports.operations import SourceHour

KEPT = timedelta(days=14)
SOURCES_MAX = 64
"""More than so many are one source named "other": a sender that invents names must not fill the memory."""
OTHER = "other"


@dataclass(slots=True)
class _Known:
    first: datetime
    last: datetime
    hours: Counter[datetime] = field(default_factory=Counter)
    rhythm: Rhythm | None = None


@dataclass(frozen=True, slots=True)
class SourceStanding:
    """A source as it stands. hourly: messages in each of the last 24 hours, the present one last."""

    source: str
    last: datetime
    silence: Silence
    hourly: tuple[int, ...]


class Sources:
    """Counts by hour of the last two weeks."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._known: dict[str, _Known] = {}

    def add(self, hours: Iterable[SourceHour]) -> None:
        """Messages that came since the last call."""
        for row in hours:
            name = group_of(row.source)
            if name not in self._known and len(self._known) >= SOURCES_MAX:
                name = OTHER
            known = self._known.setdefault(name, _Known(row.first, row.last))
            known.first, known.last = min(known.first, row.first), max(known.last, row.last)
            known.hours[row.hour] += row.messages
            known.rhythm = None

    def standing(self, now: datetime) -> list[SourceStanding]:
        """Every source, the silent ones first, by name."""
        found = [self._judged(name, known, now) for name, known in self._known.items()]
        return sorted(found, key=lambda each: (not each.silence.silent, each.source))

    def _judged(self, name: str, known: _Known, now: datetime) -> SourceStanding:
        if known.rhythm is None:
            self._forget(known, now)
            known.rhythm = learn(known.hours, known.first, known.last, self._zone)
        this_hour = now.replace(minute=0, second=0, microsecond=0)
        hourly = tuple(known.hours.get(this_hour - timedelta(hours=back), 0) for back in range(23, -1, -1))
        return SourceStanding(name, known.last, judge(known.rhythm, known.first, known.last, now, self._zone), hourly)

    def _forget(self, known: _Known, now: datetime) -> None:
        """A source that was known before keeps nothing older than two weeks."""
        oldest = now - KEPT
        for hour in [hour for hour in known.hours if hour < oldest]:
            del known.hours[hour]
        known.first = max(known.first, min(oldest, known.last))
