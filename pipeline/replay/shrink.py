"""From a log that shows a fault to the fewest events that still show it: whole patients first, then event by event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.replay.small_log import SmallLog
from pipeline.replay.times import WrittenWrong

T = TypeVar("T")


def shrink(log: SmallLog, fails: Callable[[SmallLog], bool]) -> SmallLog:
    """None of its events can be left out any more without `fails` becoming false. Raises WrittenWrong where the whole log does not fail."""
    if not fails(log):
        raise WrittenWrong("this log does not fail: there is nothing to shrink")

    def of_patients(keys: Sequence[bytes]) -> bool:
        kept = set(keys)
        return fails(log.with_records(record for record in log.records if record.key in kept))

    keys = set(fewest(log.patients(), of_patients))
    fewer = log.with_records(record for record in log.records if record.key in keys)
    return log.with_records(fewest(list(fewer.records), lambda records: fails(log.with_records(records))))


def fewest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Delta debugging (Zeller and Hildebrandt, 2002): takes away ever smaller parts while the rest still fails; order is kept."""
    kept, parts = list(items), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if rest and fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return kept
