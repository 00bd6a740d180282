"""The observations of a window: of each observable the newest few and tallies of the others, whatever the order in which events came.

The newest statement on an observation key wins, by version (recorded_at, event_id); of the winners of one code the newest `keep` by
(time, key) stay. What was let go is remembered as one version per code: an event older than that may already be superseded by something
forgotten, and then `add` says that the window has to be derived again instead of guessing; so it does where a statement may restate a
reading that is only in the tallies. This rests on a key naming one code, as `schemas.events.Observation` promises, and one time, unless
a correction moves it; a retraction or correction may come without the code.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import blake2b
from operator import attrgetter

import msgspec

from pipeline.domain import features, history
from pipeline.domain.catalogue import BY_NAME, KEEP, OBSERVABLES
from pipeline.domain.history import Past, Tally
from pipeline.domain.readings import FlaggedResult, Reading
from pipeline.domain.timestamps import without_clock
from schemas.codes import AbnormalFlag
from schemas.events import Observation, ObservationEvent

MAX_AGE = timedelta(days=7)
TOLERANCE = timedelta(days=1)
"""A time so far after its own receipt is a wrong zone at worst; beyond it, it is a wrong date."""

FLAGGED = "flagged"
"""The series of results outside the catalogue that their laboratory marked as critical."""
CLEAR = "clear"
"""The series of other results outside the catalogue: a newer one of the same code takes the critical mark back."""
_TALLIED = frozenset(BY_NAME[name].loinc for name in features.OBSERVABLES)
"""What models read."""
_MOVING = frozenset({"corrected", "deleted"})
"""Statuses of statements that may name another time than the reading they are about."""
FLAGGED_KEEP, CLEAR_KEEP = 4, 16
WITHDRAWN_KEEP = 24
CRITICAL_FLAGS = frozenset({"LL", "HH", "AA"})

Version = tuple[datetime, str]
"""(recorded_at, event_id): which of two statements is the newer one."""


class Entry(msgspec.Struct, gc=False):
    """The winning statement on one observation key.

    code: the series it stands in; None: it has no place in the window (retracted, no number, another unit). home: the code its key names,
    as far as the statement tells. local, label, text: what the source wrote, for results outside the catalogue. when: as in `Evidence`.
    """

    at: datetime
    key: bytes
    code: str | None
    home: str | None
    recorded_at: datetime
    event_id: str
    source: str
    value: float = 0.0
    flag: AbnormalFlag | None = None
    local: str = ""
    label: str = ""
    text: str = ""
    when: str | None = None

    @property
    def version(self) -> Version:
        """Which of two statements on the key wins."""
        return self.recorded_at, self.event_id


_rank = attrgetter("at", "key")
_version = attrgetter("recorded_at", "event_id")


def digest(key: str) -> bytes:
    """8 bytes that stand for an observation key: a window of some hundred keys, 2^-50 for a collision."""
    return blake2b(key.encode(), digest_size=8).digest()


def misfit(observation: Observation, recorded_at: datetime) -> str | None:
    """Why an observation is not a reading of the catalogue, or None when it is one."""
    if observation.status == "deleted":
        return "retracted"
    if observation.effective.utc > recorded_at + TOLERANCE:
        return "future-time"
    if observation.loinc is None:
        return "no-code"
    observable = OBSERVABLES.get(observation.loinc)
    if observable is None:
        return "not-in-catalogue"
    if observation.value is None:
        return "no-value"
    if observation.unit != observable.unit:
        return "other-unit"
    return None if observable.low <= observation.value <= observable.high else "out-of-range"


class Measurements:
    """`unmapped` counts, by reason, what came but has no place here: one for each time it came, so it is no part of the content."""

    __slots__ = ("entries", "evicted", "newest", "past", "series", "unmapped", "withdrawn")

    def __init__(self) -> None:
        self.series: dict[str, list[Entry]] = {}
        self.entries: dict[bytes, Entry] = {}
        self.withdrawn: dict[bytes, Entry] = {}
        self.evicted: dict[str | None, Version] = {}
        self.past: dict[str, Past] = {}
        self.newest: datetime | None = None
        self.unmapped: Counter[str] = Counter()

    @classmethod
    def derive(cls, events: Iterable[ObservationEvent]) -> Measurements:
        """From distinct events in order of version."""
        self = cls()
        winners: dict[bytes, Entry] = {}
        for event in events:
            for observation in event.observations:
                entry = self._entry(observation, event)
                winners[entry.key] = entry
        for entry in winners.values():
            if entry.code is None:
                self.withdrawn[entry.key] = entry
            else:
                self.series.setdefault(entry.code, []).append(entry)
        for code, series in self.series.items():
            series.sort(key=_rank)
            kept = series[-_keep(code) :]
            gone = series[: -len(kept)]
            self._let_go(gone)
            if code in _TALLIED and (past := history.of((entry.at, entry.value) for entry in gone)):
                self.past[code] = past
            self.series[code] = kept
            self.entries.update((entry.key, entry) for entry in kept)
        self._limit_withdrawn()
        return self

    def add(self, event: ObservationEvent) -> bool:
        """Takes the event in. False: that cannot be done exactly any more; this object is then of no use."""
        return all(self._put(self._entry(observation, event), observation.status in _MOVING) for observation in event.observations)

    def _entry(self, observation: Observation, event: ObservationEvent) -> Entry:
        recorded_at, at = event.recorded_at, observation.effective.utc
        reason = misfit(observation, recorded_at)
        if reason != "future-time" and (self.newest is None or at > self.newest) and at <= recorded_at + TOLERANCE:
            self.newest = at
        key = digest(observation.key)
        if reason is None:
            code, value, when = observation.loinc, observation.value or 0.0, without_clock(observation.effective)
            return Entry(at, key, code, code, recorded_at, event.event_id, event.source, value, observation.flag, when=when)
        self.unmapped[reason] += 1
        return _misfitting(observation, event, key, reason)

    def _put(self, entry: Entry, moving: bool) -> bool:
        known = self.entries.get(entry.key)
        if known is not None:
            if entry.version < known.version:
                return True
            if known.code == entry.code and known.at == entry.at:
                self._replace(known, entry)
                return True
            if known.code in self.evicted:
                return False
            self._remove(known)
        else:
            known = self.withdrawn.get(entry.key)
            if known is not None:
                if entry.version < known.version:
                    return True
                del self.withdrawn[entry.key]
            elif self._may_restate(entry, moving):
                return False
            if self._may_be_superseded(entry):
                self._let_go((entry,))
                return self._ranks_below_all(entry)
        if entry.code is None:
            self.withdrawn[entry.key] = entry
            if len(self.withdrawn) > WITHDRAWN_KEEP:
                self._limit_withdrawn()
        else:
            self._insert(entry.code, entry)
        return True

    def _may_be_superseded(self, entry: Entry) -> bool:
        """Whether something forgotten may be a newer statement on the same key."""
        if entry.code is None:
            return False
        evicted = self.evicted
        if entry.home is None:
            return any(entry.version < version for version in evicted.values())
        return any(code in evicted and entry.version < evicted[code] for code in {entry.code, entry.home, None})

    def _may_restate(self, entry: Entry, moving: bool) -> bool:
        """Whether a reading that is only in the tallies may be of the same key, or this is one that belongs there."""
        past = self.past
        if not past:
            return False
        codes = past.keys() if entry.home is None else {entry.code, entry.home} & past.keys()
        return any(moving or past[code].reaches(entry.at) for code in codes if code is not None)

    def _ranks_below_all(self, entry: Entry) -> bool:
        """Whether it makes no difference who wins: the series is full of newer ones."""
        assert entry.code is not None
        series = self.series.get(entry.code, [])
        return len(series) >= _keep(entry.code) and _rank(entry) < _rank(series[0])

    def _insert(self, code: str, entry: Entry) -> None:
        series = self.series.setdefault(code, [])
        if not series or entry.at > series[-1].at:
            series.append(entry)
        else:
            insort(series, entry, key=_rank)
        self.entries[entry.key] = entry
        if len(series) > _keep(code):
            gone = series.pop(0)
            del self.entries[gone.key]
            self._let_go((gone,))
            if code in _TALLIED:
                self.past.setdefault(code, Past(gone.at)).add(gone.at, gone.value)

    def _replace(self, known: Entry, entry: Entry) -> None:
        assert known.code is not None
        series = self.series[known.code]
        series[series.index(known)] = entry
        self.entries[entry.key] = entry

    def _remove(self, known: Entry) -> None:
        assert known.code is not None
        self.series[known.code].remove(known)
        del self.entries[known.key]

    def _let_go(self, gone: Iterable[Entry]) -> None:
        for entry in gone:
            version = entry.version
            for code in (entry.code or entry.home, entry.home):
                if code not in self.evicted or version > self.evicted[code]:
                    self.evicted[code] = version

    def _limit_withdrawn(self) -> None:
        excess = sorted(self.withdrawn.values(), key=_version)[:-WITHDRAWN_KEEP]
        for entry in excess:
            del self.withdrawn[entry.key]
        self._let_go(excess)

    def readings(self, as_of: datetime) -> dict[str, list[Reading]]:
        """Catalogue name -> readings not older than MAX_AGE, oldest first."""
        oldest = as_of - MAX_AGE
        found: dict[str, list[Reading]] = {}
        for code in OBSERVABLES.keys() & self.series.keys():
            kept = [Reading(e.at, e.value, e.flag, e.event_id, e.source, e.when) for e in self.series[code] if e.at >= oldest]
            if kept:
                found[OBSERVABLES[code].name] = kept
        return found

    def tallies(self, as_of: datetime) -> dict[str, list[Tally]]:
        """Catalogue name -> what is remembered of the readings that were let go."""
        found = {OBSERVABLES[code].name: past.tallies(as_of) for code, past in self.past.items()}
        return {name: tallies for name, tallies in found.items() if tallies}

    def flagged(self, as_of: datetime) -> list[FlaggedResult]:
        """Results outside the catalogue that their laboratory marked as critical and nothing newer has taken back, oldest first."""
        oldest = as_of - MAX_AGE
        return [
            FlaggedResult(e.at, e.flag, e.local, e.label, e.text, e.event_id, e.source, e.when)
            for e in self.series.get(FLAGGED, ())
            if e.flag is not None and e.at >= oldest and not self._taken_back(e)
        ]

    def _taken_back(self, marked: Entry) -> bool:
        if any(clear.local == marked.local and clear.at > marked.at for clear in self.series.get(CLEAR, ())):
            return True
        mapped = self.series.get(marked.home or "", [])
        return marked.home in OBSERVABLES and bool(mapped) and mapped[-1].at > marked.at


def _keep(code: str) -> int:
    return KEEP if code in OBSERVABLES else FLAGGED_KEEP if code == FLAGGED else CLEAR_KEEP


def _misfitting(observation: Observation, event: ObservationEvent, key: bytes, reason: str) -> Entry:
    """A statement that is no reading: it withdraws an earlier one, or stands for itself where the laboratory marked it as critical."""
    local = observation.local
    told = local.code if local else observation.loinc or ""
    code = None
    if reason not in ("retracted", "future-time"):
        if observation.flag in CRITICAL_FLAGS:
            code = FLAGGED
        elif told and reason in ("no-code", "not-in-catalogue"):
            code = CLEAR
    uncoded = None if observation.status in ("deleted", "corrected") else FLAGGED
    return Entry(
        at=observation.effective.utc,
        key=key,
        code=code,
        home=observation.loinc if observation.loinc in OBSERVABLES else uncoded,
        recorded_at=event.recorded_at,
        event_id=event.event_id,
        source=event.source,
        flag=observation.flag,
        local=told,
        label=(local.display if local and code == FLAGGED else None) or told,
        text=_text(observation) if code == FLAGGED else "",
        when=without_clock(observation.effective) if code == FLAGGED else None,
    )


def _text(observation: Observation) -> str:
    if observation.value is None:
        return (observation.value_text or "")[:40]
    return f"{observation.comparator or ''}{observation.value:g} {observation.unit or observation.unit_text or ''}".strip()
