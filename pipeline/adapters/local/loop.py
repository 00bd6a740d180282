"""How a role's process runs: on uvloop where there is one, with a garbage collector that looks less often."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run."""
    calm_collector()
    try:
        import uvloop
    except ImportError:  # no wheel on Windows
        asyncio.run(main)
    else:
        uvloop.run(main)


def calm_collector() -> None:
    """Messages make objects, not cycles: with Python's own thresholds a third of the context worker's time went into the search.

    A transaction's objects, some ten for each of its thousands of records, are gone by themselves before there are so many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 20)
