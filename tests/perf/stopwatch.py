"""How every rival measures itself: from the first event to the last, wall clock and processor time, told as one line of JSON."""

from __future__ import annotations

import json
import time


class Stopwatch:
    """Starts with the first event counted; `done` turns true with event number `total`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0
        self._began: tuple[float, float] | None = None
        self._skipped = 0

    def add(self, events: int) -> bool:
        """Counts events just finished. What was finished when the clock starts does not count towards the rate."""
        self.count += events
        if self._began is None:
            self._began = (time.perf_counter(), time.process_time())
            self._skipped = self.count
        return self.count >= self.total

    def report(self) -> None:
        """Prints the result."""
        assert self._began is not None
        seconds, processor = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        print(json.dumps({"events": self.count - self._skipped, "seconds": seconds, "cpu_s": processor}), flush=True)
