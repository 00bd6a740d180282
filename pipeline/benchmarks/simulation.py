"""Exams a second of the department simulator, beside the same reading room in SimPy and a published simulator's run time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.errors import StackError
from pipeline.simulation.department import loading
from pipeline.simulation.department.running import run
from pipeline.simulation.department.streams import draw

ROOT = Path(__file__).resolve().parents[2]
RIVAL = "tests.perf.simpy_department"
EXAMS, SIMPY_EXAMS, SEED = 500_000, 50_000, 1
QUCAD_EXAMS_PER_S = 100_000 / (36 * 60)
"""QuCAD (DIDSR, United States FDA) as published: 36 minutes for 100,000 patients, on another machine."""

ONE_READER: dict[str, Any] = {
    "name": "one-reader",
    "title": "one reader, one kind of study, a fifth of them urgent",
    "arrivals": {"traffic": 0.9},
    "groups": [{"name": "all", "share": 1.0, "reading": {"mean": 5.0}}],
    "orders": [
        {"name": "stat", "share": 0.2, "priority": "stat", "patient_class": "E"},
        {"name": "routine", "share": 0.8, "priority": "routine", "patient_class": "O"},
    ],
    "policies": [
        {"name": "fifo", "kind": "fifo"},
        {"name": "order", "kind": "order"},
        {"name": "readfirst", "kind": "readfirst"},
    ],
}


def measure(runs: int, progress: Callable[[str, str], None]) -> dict[str, Any]:
    """Studies drawn and read, a second of this process; the median of `runs`. Raises StackError."""
    scenario = loading.parse(ONE_READER)
    rates: dict[str, int] = {}
    for rule in scenario.policies:
        seconds = []
        for _ in range(runs):
            began = time.perf_counter()
            run(scenario, draw(scenario, EXAMS, SEED), rule)
            seconds.append(time.perf_counter() - began)
        rates[rule.name] = round(EXAMS / median(seconds))
        progress(rule.name, f"{rates[rule.name]:,} exams/s")
    rates["simpy"] = round(median(_simpy() for _ in range(runs)))
    progress("simpy", f"{rates['simpy']:,} exams/s")
    return {
        **rates,
        "exams": EXAMS,
        "runs": runs,
        "ratios": {
            "order_to_simpy": round(rates["order"] / rates["simpy"], 1),
            "readfirst_to_simpy": round(rates["readfirst"] / rates["simpy"], 1),
            "readfirst_to_qucad_published": round(rates["readfirst"] / QUCAD_EXAMS_PER_S),
        },
    }


def _simpy() -> float:
    command = [sys.executable, "-m", RIVAL, str(SIMPY_EXAMS), str(SEED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"the SimPy build failed:\n{done.stderr[-800:]}", "run it in a checkout, after `uv sync`")
    told = json.loads(done.stdout)
    return float(told["exams"] / told["seconds"])
