"""A recorded day read again: the same readers at the same moments, each taking what another set of rules has at the top just then.

As in `pipeline.domain.ledger`, a moment at which a study was reported is kept as a moment of reading, and only which study is read changes;
but the deadlines move with time, as a replay of the log under each set of rules gives them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import mean, median
from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True):
    """What a replay says of a study from `at` on. closed: why it left the list."""

    at: datetime
    study: str
    due_at: datetime
    closed: str | None = None
    group: str = ""
    what: str = ""


@dataclass(frozen=True, slots=True)
class Class:
    """Waits in minutes under the rules as they are and as they might be; more, less: studies that wait longer, shorter."""

    studies: int
    mean_now: float
    mean_then: float
    median_now: float
    median_then: float
    longest_now: float
    longest_then: float
    more: int
    less: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A study that would have been begun so many minutes earlier (negative: later)."""

    study: str
    what: str
    group: str
    minutes: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """studies: those that were reported in the log. moved: by how much, the largest first."""

    studies: int
    moments: int
    classes: Mapping[str, Class]
    moved: Sequence[Moved]


def compare(now: Iterable[Change], then: Iterable[Change]) -> WhatIf:
    """Two replays of one log, each in the order of time: the rules as they are, and as they might be."""
    before, after = _by_study(now), _by_study(then)
    reported = {uid: changes for uid, changes in before.items() if uid in after and any(each.closed == "reported" for each in changes)}
    moments = sorted(next(each.at for each in changes if each.closed) for changes in reported.values())
    shown = {uid: changes[0] for uid, changes in reported.items()}
    begun_now = begin(reported, moments)
    begun_then = begin({uid: after[uid] for uid in reported}, moments)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for uid in reported:
        groups[reported[uid][-1].group].append(uid)
    classes = {group: _class(shown, begun_now, begun_then, uids) for group, uids in sorted(groups.items())}
    moved = [
        Moved(uid, reported[uid][-1].what, reported[uid][-1].group, round(_minutes(begun_now[uid], begun_then[uid]), 2)) for uid in reported
    ]
    return WhatIf(len(reported), len(moments), classes, sorted(moved, key=lambda one: -abs(one.minutes)))


def begin(studies: Mapping[str, Sequence[Change]], moments: Sequence[datetime]) -> dict[str, datetime]:
    """study -> when it is begun, if at each moment the study that is due first by then is taken. A study is there from its first change on;
    a change after it was begun, its closing too, counts for nothing."""
    events = sorted(((each.at, uid, each.due_at) for uid, changes in studies.items() for each in changes if not each.closed), key=_first)
    begun: dict[str, datetime] = {}
    due: dict[str, datetime] = {}
    coming = 0
    for moment in moments:
        while coming < len(events) and events[coming][0] <= moment:
            _, uid, due_at = events[coming]
            coming += 1
            if uid not in begun:
                due[uid] = due_at
        if due:
            taken = min(due, key=lambda uid: (due[uid], uid))
            begun[taken] = moment
            del due[taken]
    # a study that is listed only after the last moments (by rules that know it later) is read when all is read
    return {**dict.fromkeys(studies, moments[-1]), **begun} if moments else begun


def _by_study(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.study].append(change)
    return found


def _first(event: tuple[datetime, str, Any]) -> datetime:
    return event[0]


def _class(shown: Mapping[str, Change], now: Mapping[str, datetime], then: Mapping[str, datetime], uids: Sequence[str]) -> Class:
    waits_now = [_minutes(now[uid], shown[uid].at) for uid in uids]
    waits_then = [_minutes(then[uid], shown[uid].at) for uid in uids]
    return Class(
        studies=len(uids),
        mean_now=mean(waits_now),
        mean_then=mean(waits_then),
        median_now=median(waits_now),
        median_then=median(waits_then),
        longest_now=max(waits_now),
        longest_then=max(waits_then),
        more=sum(then[uid] > now[uid] for uid in uids),
        less=sum(then[uid] < now[uid] for uid in uids),
    )


def _minutes(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds() / 60
