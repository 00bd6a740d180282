"""How often a model was asked what: counted in memory, stored every half minute, and read back beside what the model was made on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date

import structlog

from pipeline.domain import drift
from pipeline.errors import StackError, Unavailable
from pipeline.ports import Clock, DriftCounts

log = structlog.get_logger()

MadeOn = Callable[[], tuple[str, drift.Reference] | None]
"""Version and distribution of the model that is served; None where nobody kept it."""


class DriftTally:
    """Of one model. `standing`: today's drifts of the served version as of the last flush, counted by all workers together."""

    def __init__(self, store: DriftCounts, made_on: MadeOn, clock: Clock) -> None:
        self._store = store
        self._made_on = made_on
        self._clock = clock
        self._counts: dict[tuple[date, str], Counter[tuple[str, int]]] = {}
        self.standing: Sequence[drift.Drift] = ()

    def note(self, version: str, places: Callable[[drift.Reference], Iterable[tuple[str, int]]]) -> None:
        """Counts one answer of `version`. Raises nothing: a damaged file of the site's versions is told by whoever looks on."""
        try:
            made_on = self._made_on()
        except StackError:
            return
        if made_on is not None:
            self._counts.setdefault((self._clock.now().date(), version), Counter()).update(places(made_on[1]))

    async def flush(self) -> None:
        """Stores what was counted, and looks at the day. What cannot be stored is kept for the next time."""
        counted, self._counts = self._counts, {}
        try:
            while counted:
                (day, version), counts = next(iter(counted.items()))
                await self._store.add(day, version, counts)
                del counted[day, version]
            if (made_on := self._made_on()) is not None:
                self.standing = drift.drifts(made_on[1], await self._store.of(self._clock.now().date(), made_on[0]))
        except (Unavailable, StackError) as error:
            log.warning("drift_counts_kept_back", reason=str(error))
            for key, back in counted.items():
                self._counts.setdefault(key, Counter()).update(back)
