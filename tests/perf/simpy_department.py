"""One reader, studies by order priority, as SimPy's documentation shows it: `EXAMS SEED`. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

TRAFFIC, MINUTES, URGENT = 0.9, 5.0, 0.2


def simulate(exams: int, seed: int) -> float:
    """The mean wait, minutes."""
    dice = np.random.default_rng(seed)
    gaps = dice.exponential(MINUTES / TRAFFIC, exams).tolist()
    reading = dice.exponential(MINUTES, exams).tolist()
    priority = (dice.random(exams) >= URGENT).astype(int).tolist()
    waited: list[float] = []
    environment = simpy.Environment()
    reader = simpy.PriorityResource(environment, capacity=1)

    def study(minutes: float, level: int) -> Generator[Any, Any, None]:
        came = environment.now
        with reader.request(priority=level) as turn:
            yield turn
            waited.append(environment.now - came)
            yield environment.timeout(minutes)

    def arrivals() -> Generator[Any, Any, None]:
        for gap, minutes, level in zip(gaps, reading, priority, strict=True):
            yield environment.timeout(gap)
            environment.process(study(minutes, level))

    environment.process(arrivals())
    environment.run()
    return sum(waited) / len(waited)


if __name__ == "__main__":
    count = int(sys.argv[1])
    began = time.perf_counter()
    mean = simulate(count, int(sys.argv[2]))
    print(json.dumps({"exams": count, "seconds": time.perf_counter() - began, "mean_wait_minutes": mean}))
