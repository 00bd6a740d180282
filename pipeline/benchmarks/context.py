"""Events a second of the context stage on one worker, beside the same job on a Faust Table and on Quix Streams, and bare aiokafka."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import context_worker, servers
from pipeline.benchmarks.context_worker import LIMIT_S, Run
from pipeline.benchmarks.servers import Ground
from pipeline.benchmarks.vitals import Load
from pipeline.errors import StackError
from schemas.topics import ASSESSMENTS, VITALS

ROOT = Path(__file__).resolve().parents[2]
RIVALS = ROOT / "tests" / "perf"
_FACT_BYTES = """
select (sum(pg_total_relation_size(inhrelid)) / greatest((select count(*) from fact), 1))::int
from pg_inherits where inhparent = 'fact'::regclass
"""
BUILDS = ("aiokafka", "readfirst", "quix", "faust_table")


def measure(load: Load, runs: int, progress: Progress, builds: Iterable[str] = BUILDS) -> dict[str, Any]:
    """Each build over the same records, one after the other; medians of `runs` rounds. Raises StackError."""
    if not RIVALS.is_dir():
        raise StackError(
            "the reference builds are not here", "run `readfirst bench context` in a checkout of the repository, after `uv sync`"
        )
    found: dict[str, list[Run]] = {build: [] for build in builds}
    said, fact_bytes = 0, 0
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("postgres", "kafka"), steps=()) as settings:
        for _ in range(runs):
            ground = servers.fresh_ground(settings)
            progress("load", f"{load.events} vital signs of {load.patients} patients")
            asyncio.run(context_worker.fill(ground, load.studies()))
            if load.open_patients and "readfirst" in found:
                context_worker.learn(ground, load, data)
            asyncio.run(context_worker.fill(ground, load.vitals()))
            for build in found:
                progress(build, "running")
                run = context_worker.run(ground, load, data) if build == "readfirst" else _rival(build, ground, load, data)
                progress(build, f"{run.rate:,.0f} events/s")
                found[build].append(run)
            said += _assessments(ground)
            fact_bytes = _fact_bytes(ground)
    return {**summary(found, load, runs, said), "fact_bytes": fact_bytes}


def summary(found: dict[str, list[Run]], load: Load, runs: int, assessments: int) -> dict[str, Any]:
    """The medians under the builds' names, and what they mean beside each other."""
    rates = {build: round(median(run.rate for run in each)) for build, each in found.items()}
    ratios = {f"readfirst_to_{build}": round(rates["readfirst"] / rate, 2) for build, rate in rates.items() if build != "readfirst"}
    processor = {build: round(median(run.per_cpu_s for run in each)) for build, each in found.items()}
    ranges = {build: [round(min(run.rate for run in each)), round(max(run.rate for run in each))] for build, each in found.items()}
    load_said = {name: value for name, value in asdict(load).items() if name in ("events", "patients", "open_share")}
    return {
        **rates,
        "ratios": ratios,
        **load_said,
        "runs": runs,
        "events_per_cpu_second": processor,
        "ranges": ranges,
        "assessments": assessments,
    }


def _rival(build: str, ground: Ground, load: Load, data: Path) -> Run:
    topic = ground.kafka.topic_prefix + VITALS.name
    state = data / f"{build}-{ground.kafka.topic_prefix}state"
    arguments = [ground.kafka.bootstrap_servers, topic, f"{build}-{ground.kafka.topic_prefix}group", str(load.events), str(state)]
    try:
        done = subprocess.run(
            [*_command(build), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"the reference build {build} took longer than {LIMIT_S:.0f} s", "give fewer --events") from error
    finally:
        shutil.rmtree(state, ignore_errors=True)
    told = [line for line in done.stdout.splitlines() if line.startswith('{"events"')]
    if not told:
        raise StackError(
            f"the reference build {build} failed (exit code {done.returncode}):\n{done.stderr[-1500:]}",
            "it needs the development dependencies (`uv sync`), and uv with the network for Quix Streams",
        )
    return Run(**json.loads(told[-1]))


def _command(build: str) -> list[str]:
    if build != "quix":
        return [sys.executable, "-m", {"faust_table": "tests.perf.faust_table", "aiokafka": "tests.perf.bare_aiokafka"}[build]]
    uv = shutil.which("uv")
    if uv is None:
        raise StackError("uv is not installed", "pip install uv: Quix Streams runs in an environment of its own")
    return [uv, "run", "--quiet", "--no-project", "--python", sys.executable, "--script", str(RIVALS / "quix_stateful.py")]


def _assessments(ground: Ground) -> int:
    """How many assessments the stage has sent."""
    from confluent_kafka import Consumer, TopicPartition

    from pipeline.adapters.kafka.connection import client_config

    consumer = Consumer({**client_config(ground.kafka), "group.id": "readfirst-bench"})
    try:
        places = [TopicPartition(ground.kafka.topic_prefix + ASSESSMENTS.name, number) for number in range(ground.kafka.partitions)]
        return sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
    finally:
        consumer.close()


def _fact_bytes(ground: Ground) -> int:
    """What a fact takes in Postgres, its indexes included."""
    with psycopg.connect(ground.dsn) as connection:
        row = connection.execute(_FACT_BYTES).fetchone()
    return int(row[0]) if row else 0
