"""A clock that a test or a replay sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until it is told to move."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The time last set."""
        return self._now

    def set(self, now: datetime) -> None:
        """Moves to `now`, backwards too: real clocks do."""
        self._now = now.astimezone(UTC)

    def advance(self, by: timedelta) -> datetime:
        """Moves on and returns the new time."""
        self._now += by
        return self._now
