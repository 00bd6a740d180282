"""A circuit breaker: after some failures in a row, don't ask for a while; then let one question try."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.ports import Clock

KNOWN_FOR = timedelta(minutes=1)


class CircuitBreaker:
    """Closed (ask), open (don't), half open (one question is under way, and decides)."""

    def __init__(self, clock: Clock, failures: int = 3, pause: timedelta = timedelta(seconds=5)) -> None:
        self._clock = clock
        self._most = failures
        self._pause = pause
        self._failures = 0
        self._opened: datetime | None = None

    @property
    def is_open(self) -> bool:
        """True while nothing is asked."""
        return self._opened is not None and abs(self._clock.now() - self._opened) < self._pause

    @property
    def tripped(self) -> bool:
        """True from the failure that opened it until an answer comes, between the probes too. Where nobody has asked for a minute, nobody
        knows: a stage without work must not be said to be in trouble for hours."""
        return self._opened is not None and abs(self._clock.now() - self._opened) < KNOWN_FOR

    def allows(self) -> bool:
        """Whether to ask now. A yes after the pause starts the next one, so that only one question probes at a time."""
        if self.is_open:
            return False
        if self._opened is not None:
            self._opened = self._clock.now()
        return True

    def succeeded(self) -> None:
        """The answer came: closed again."""
        self._failures = 0
        self._opened = None

    def failed(self) -> None:
        """No answer came."""
        self._failures += 1
        if self._failures >= self._most:
            self._opened = self._clock.now()
