"""How long `readfirst up` takes from stopped to healthy, with what it fetches fetched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.adapters.local.stack import down
from pipeline.adapters.local.state import status
from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import servers
from pipeline.errors import StackError

LIMIT_S = 600.0


def measure(runs: int, progress: Progress) -> dict[str, Any]:
    """The first start on a folder makes database and storage; the others find them. Raises StackError."""
    with servers.folder() as data:
        try:
            first = _up(data)
            progress("first", f"{first:.1f} s")
            again = []
            for _ in range(runs):
                down(data)
                again.append(_up(data))
                progress("again", f"{again[-1]:.1f} s")
        finally:
            down(data)
    return {"seconds": round(median(again), 1), "runs": [round(each, 1) for each in again], "first_seconds": round(first, 1)}


def _up(data: Path) -> float:
    command = [sys.executable, "-m", "pipeline.cli", "up", "--detach", "--data", str(data)]
    began = time.perf_counter()
    try:
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"`readfirst up` was not done after {LIMIT_S:.0f} s", "run `readfirst doctor`") from error
    seconds = time.perf_counter() - began
    if done.returncode or not status(data).healthy:
        raise StackError(f"`readfirst up` failed:\n{done.stderr[-1500:]}", "run `readfirst doctor`")
    return seconds
