"""Hypothesis strategies for the ways in which the same events may come: other interleavings, resent messages, other batches, restarts.

What must hold: `restarted` leaves the history and its `digest` as they are; `shuffled` leads to the same list at the end (`state_digest`).
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from pipeline.replay.log_file import LoggedRecord
from pipeline.replay.play import play
from pipeline.replay.played import Played
from pipeline.replay.small_log import SmallLog

_MOST_RESTARTS = 3
_MOST_RESENT = 3


@dataclass(frozen=True, slots=True, repr=False)
class Variation:
    """One way in which a log may come. restarts: after how many records the workers die."""

    log: SmallLog
    batch_size: int
    restarts: tuple[int, ...]

    def play(self, **options: Any) -> Played:
        """As `pipeline.replay.play.play`."""
        return play(self.log, batch_size=self.batch_size, restarts=self.restarts, **options)

    def __repr__(self) -> str:
        return f"batches of {self.batch_size}, restarts after {list(self.restarts)} records, in this order:\n{self.log}"


@st.composite
def restarted(draw: st.DrawFn, log: SmallLog) -> Variation:
    """The same records in other batches; the workers die at any point, and what they had in memory is gone."""
    restarts = draw(st.sets(st.integers(0, max(len(log.records) - 1, 0)), max_size=_MOST_RESTARTS))
    return Variation(log, draw(st.integers(1, len(log.records) + 1)), tuple(sorted(restarts)))


@st.composite
def shuffled(draw: st.DrawFn, log: SmallLog) -> Variation:
    """Another interleaving in time that keeps each partition's order, with some records sent twice by their source; and as `restarted`."""
    records = _resent(draw, log)
    places: defaultdict[tuple[str, int], deque[LoggedRecord]] = defaultdict(deque)
    for record in records:
        places[record.topic, record.partition].append(record)
    order = []
    while waiting := [place for place, queue in places.items() if queue]:
        order.append(places[draw(st.sampled_from(waiting))].popleft())
    times = sorted(record.timestamp for record in order)
    retimed = [record._replace(timestamp=at + number) for number, (record, at) in enumerate(zip(order, times, strict=True))]
    return draw(restarted(log.with_records(retimed)))


def _resent(draw: st.DrawFn, log: SmallLog) -> list[LoggedRecord]:
    """Each copy comes somewhere after its original."""
    records = list(log.records)
    for _ in range(draw(st.integers(0, _MOST_RESENT))):
        place = draw(st.integers(0, len(records) - 1))
        copy = records[place]._replace(headers={**records[place].headers, "redelivery": "1"})
        records.insert(draw(st.integers(place + 1, len(records))), copy)
    return records
