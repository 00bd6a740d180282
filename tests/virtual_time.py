"""An event loop that never waits: its clock stands while anything is to be done, and jumps to the next timer where nothing is. A deadline
is then no race, however slow the machine is."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jumping(selectors.DefaultSelector):
    """skipped: seconds that were to be waited."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        events = super().select(0)
        if not events:
            self.skipped += max(timeout, 0.0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code without threads and sockets: while one of those works, the loop has nothing to do."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that were to be waited since it began."""
        return self._jumping.skipped


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run, in a VirtualLoop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
