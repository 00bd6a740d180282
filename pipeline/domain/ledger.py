"""What the order of reading saved and what it cost: the studies that were read, beside two orders that know less.

The counterfactual keeps what the readers did - at each moment when a study was begun, one of those waiting is begun - and changes only
which: the one that came first, or the one whose order is most urgent. Nobody reads faster or slower by it, so minutes are only moved from
some studies to others: their sum is the same, and a saving that nobody pays for cannot appear. It assumes that any reader reads anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from heapq import heappop, heappush
from itertools import pairwise
from statistics import mean, median
from typing import Any, NamedTuple

import msgspec

from pipeline.domain.priorities import ORDER
from schemas.codes import RequestPriority
from schemas.worklist import WorklistItem

_PRIORITIES: tuple[RequestPriority | None, ...] = (*ORDER[:-1], None, *ORDER[-1:])
"""A study without a priority is not routine."""
WHOLE_DAY = 1440.0
"""Minutes."""
_MODEL = ("risk", "image")
"""Kinds of evidence that a model gave."""


class Read(NamedTuple):
    """A study that was read. begun_at: when a reader took it, or, where nobody said so, when its report came.

    moved: its deadline was earlier than its order's own; by_model: a model's answer alone had moved it. overridden: a reader has set it.
    """

    study_uid: str
    ready_at: datetime
    begun_at: datetime
    target_at: datetime
    priority: RequestPriority | None
    moved: bool = False
    by_model: bool = False
    overridden: bool = False


class Raised(NamedTuple):
    """An alert on a study: when it was raised, whether it was kept from everybody, and what reader or report said of it (None: nothing)."""

    at: datetime
    muted: bool
    confirmed: bool | None


class Alerts(msgspec.Struct, frozen=True):
    """Of one day. per_shift: those that woke somebody, over the site's shifts, of the present day those that it has had.

    ppv: share confirmed of those that reader or report judged.
    """

    raised: int
    muted: int
    per_shift: float
    confirmed: int
    refuted: int
    ppv: float | None


class Moved(msgspec.Struct, frozen=True):
    """Minutes by which studies of one class were begun earlier than under the other order; negative: later. most_added: of one study."""

    studies: int
    mean: float
    total: float
    most_saved: float
    most_added: float


class Against(msgspec.Struct, frozen=True):
    """The day beside another order of the same reads. late: studies that it would have begun after their order's target."""

    moved_up: Moved
    others: Moved
    late: int


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day of a site, by the moments when studies were begun. Waits in minutes; late: begun after the order's own target.

    A day on which nothing was read has no waits (None).
    """

    day: date
    read: int
    moved_up: int
    moved_up_by_model: int
    overridden: int
    late: int
    wait_mean: float | None
    wait_median: float | None
    wait_longest: float | None
    first_come: Against
    order_priority: Against
    alerts: Alerts
    computed_at: datetime


Order = Callable[[Read], Any]


def first_come(read: Read) -> Any:
    """The oldest first."""
    return read.ready_at


def order_priority(read: Read) -> Any:
    """The most urgent order first, the oldest of equals."""
    return _PRIORITIES.index(read.priority), read.ready_at


def of_item(item: WorklistItem, begun_at: datetime, overridden: bool) -> Read:
    """`item` as it stood when it was closed. overridden: by its history, since a closed item has no override any more."""
    binding = next((reason for reason in item.reasons if reason.binding), None)
    moved = item.due_at < item.target_at
    return Read(
        study_uid=item.study.study_uid,
        ready_at=min(item.study.ready_at, begun_at),
        begun_at=begun_at,
        target_at=item.target_at,
        priority=item.study.priority,
        moved=moved,
        by_model=moved and binding is not None and binding.evidence.kind in _MODEL,
        overridden=overridden,
    )


def reordered(reads: Iterable[Read], order: Order) -> dict[str, datetime]:
    """study -> when it would have been begun. Each moment of beginning is used once, by a study that was there by then."""
    arrivals = sorted(reads, key=lambda read: read.ready_at)
    moments = sorted(read.begun_at for read in arrivals)
    begun: dict[str, datetime] = {}
    waiting: list[tuple[Any, str]] = []
    coming = 0
    for moment in moments:
        while coming < len(arrivals) and arrivals[coming].ready_at <= moment:
            heappush(waiting, (order(arrivals[coming]), arrivals[coming].study_uid))
            coming += 1
        begun[heappop(waiting)[1]] = moment
    return begun


def of_day(
    day: date,
    reads: Sequence[Read],
    raised: Sequence[Raised],
    zone_day: Callable[[datetime], date],
    now: datetime,
    shifts: float = 3,
) -> Day:
    """The ledger of `day`. reads: also of some days before, since studies wait over midnight. shifts: how many the day has had."""
    mine = [read for read in reads if zone_day(read.begun_at) == day]
    waits = [_minutes(read.begun_at, read.ready_at) for read in mine]
    return Day(
        day=day,
        read=len(mine),
        moved_up=sum(read.moved for read in mine),
        moved_up_by_model=sum(read.by_model for read in mine),
        overridden=sum(read.overridden for read in mine),
        late=sum(read.begun_at > read.target_at for read in mine),
        wait_mean=round(mean(waits), 2) if waits else None,
        wait_median=round(median(waits), 2) if waits else None,
        wait_longest=round(max(waits), 2) if waits else None,
        first_come=_against(mine, reordered(reads, first_come)),
        order_priority=_against(mine, reordered(reads, order_priority)),
        alerts=_alerts([alert for alert in raised if zone_day(alert.at) == day], shifts),
        computed_at=now,
    )


def shifts_until(minutes: float, starts: Iterable[time]) -> float:
    """How many shifts a day has had so many minutes after midnight: of each the part that fell into the day; one at least, for it runs."""
    marks = sorted({start.hour * 60 + start.minute for start in starts})
    edges = [marks[-1] - WHOLE_DAY, *marks, marks[0] + WHOLE_DAY]
    return max(1.0, sum(max(0.0, min(end, minutes) - max(start, 0.0)) / (end - start) for start, end in pairwise(edges)))


def _against(mine: Sequence[Read], otherwise: Mapping[str, datetime]) -> Against:
    saved = {read.study_uid: _minutes(otherwise[read.study_uid], read.begun_at) for read in mine}
    return Against(
        moved_up=_moved([saved[read.study_uid] for read in mine if read.moved]),
        others=_moved([saved[read.study_uid] for read in mine if not read.moved]),
        late=sum(otherwise[read.study_uid] > read.target_at for read in mine),
    )


def _alerts(raised: Sequence[Raised], shifts: float) -> Alerts:
    heard = [alert for alert in raised if not alert.muted]
    confirmed = sum(alert.confirmed is True for alert in heard)
    refuted = sum(alert.confirmed is False for alert in heard)
    return Alerts(
        raised=len(heard),
        muted=len(raised) - len(heard),
        per_shift=round(len(heard) / shifts, 2),
        confirmed=confirmed,
        refuted=refuted,
        ppv=round(confirmed / (confirmed + refuted), 3) if confirmed + refuted else None,
    )


def _moved(minutes: Sequence[float]) -> Moved:
    if not minutes:
        return Moved(0, 0.0, 0.0, 0.0, 0.0)
    return Moved(
        studies=len(minutes),
        mean=round(mean(minutes), 2),
        total=round(sum(minutes), 2),
        most_saved=round(max(0.0, max(minutes)), 2),
        most_added=round(max(0.0, -min(minutes)), 2),
    )


def _minutes(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds() / 60
