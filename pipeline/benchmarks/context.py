"""Events a second of the context stage on one worker, beside the same job on a Faust Table and on Quix Streams, and bare aiokafka."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import psycopg

from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.local.process import Child, Launch, tail
from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.local.table import environment
from pipeline.benchmarks import servers
from pipeline.benchmarks.servers import Ground
from pipeline.benchmarks.vitals import Load
from pipeline.errors import StackError
from pipeline.ports import Record
from schemas.topics import ASSESSMENTS, IMAGING, ORDERS, VITALS, Topic

ROOT = Path(__file__).resolve().parents[2]
RIVALS = ROOT / "tests" / "perf"
BUILDS = ("aiokafka", "readfirst", "quix", "faust_table")
GROUP = "readfirst-context"
LIMIT_S = 600.0
_APPLIED = "select coalesce(sum(off + 1), 0)::bigint from applied where grp = %s and topic = %s"


@dataclass(frozen=True, slots=True)
class Run:
    """One build's way through the load, from its first event (or batch) to its last. cpu_s: of the build's own process."""

    events: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def measure(load: Load, runs: int, progress: Progress, builds: Iterable[str] = BUILDS) -> dict[str, Any]:
    """Each build over the same records, one after the other; medians of `runs` rounds. Raises StackError."""
    if not RIVALS.is_dir():
        raise StackError(
            "the reference builds are not here", "run `readfirst bench context` in a checkout of the repository, after `uv sync`"
        )
    found: dict[str, list[Run]] = {build: [] for build in builds}
    said = 0
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("postgres", "kafka"), steps=()) as settings:
        for _ in range(runs):
            ground = servers.fresh_ground(settings)
            progress("load", f"{load.events} vital signs of {load.patients} patients")
            asyncio.run(_fill(ground, load.studies()))
            if load.open_patients and "readfirst" in found:
                _learn(ground, load, data)
            asyncio.run(_fill(ground, load.vitals()))
            for build in found:
                progress(build, "running")
                run = _readfirst(ground, load, data) if build == "readfirst" else _rival(build, ground, load, data)
                progress(build, f"{run.rate:,.0f} events/s")
                found[build].append(run)
            said += _assessments(ground)
    return summary(found, load, runs, said)


def summary(found: dict[str, list[Run]], load: Load, runs: int, assessments: int) -> dict[str, Any]:
    """The medians under the builds' names, and what they mean beside each other."""
    rates = {build: round(median(run.rate for run in each)) for build, each in found.items()}
    ratios = {f"readfirst_to_{build}": round(rates["readfirst"] / rate, 2) for build, rate in rates.items() if build != "readfirst"}
    processor = {build: round(median(run.events / max(run.cpu_s, 1e-9) for run in each)) for build, each in found.items()}
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


async def _fill(ground: Ground, records: Iterator[Record]) -> None:
    log = KafkaEventLog(ground.kafka, timeout_s=60)
    try:
        while chunk := list(islice(records, 5000)):
            await log.append(chunk)
    finally:
        await log.close()


def _learn(ground: Ground, load: Load, data: Path) -> None:
    """Lets the product hear of the studies, so that it knows from the first vital sign on whose matter."""
    with _worker(ground, data) as watched:
        for topic in (ORDERS, IMAGING):
            watched.reach(topic, load.open_patients)


def _readfirst(ground: Ground, load: Load, data: Path) -> Run:
    """The product's own worker, watched from outside: the applied offsets in Postgres say how far it is."""
    with _worker(ground, data) as watched:
        begun = watched.reach(VITALS, 1)
        ended = watched.reach(VITALS, load.events)
    if begun.events == ended.events:
        raise StackError("the load is too small to be timed", "give more --events")
    return Run(ended.events - begun.events, ended.seconds - begun.seconds, ended.cpu_s - begun.cpu_s)


@contextmanager
def _worker(ground: Ground, data: Path) -> Iterator[_Watched]:
    variables = {"READFIRST_KAFKA__TOPIC_PREFIX": ground.kafka.topic_prefix, "READFIRST_LOG_LEVEL": "warning"}
    env = {**environment(ground.settings.model_copy(update={"data": data})), **variables}
    log = data / "log" / f"bench-{ground.kafka.topic_prefix}log"
    worker = Child(Launch([sys.executable, "-m", "agents", "agent-context"], log, env))
    try:
        with psycopg.connect(ground.dsn, autocommit=True) as connection:
            yield _Watched(worker, connection)
    finally:
        worker.stop()


@dataclass(frozen=True, slots=True)
class _Watched:
    """A worker, and the place where its progress can be read."""

    worker: Child
    connection: psycopg.Connection[Any]

    def reach(self, topic: Topic, events: int) -> Run:
        """The moment when so many of the topic are applied, on the clocks of this process and of the worker. Raises StackError."""
        process, deadline = psutil.Process(self.worker.pid), time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self.worker.exit_code() is None:
            row = self.connection.execute(_APPLIED, [GROUP, topic.name]).fetchone()
            if row and row[0] >= events:
                return Run(int(row[0]), time.perf_counter(), _cpu_s(process))
            time.sleep(0.02)
        raise StackError(
            f"the context worker did not get through the load:\n{tail(self.worker.launch.log)}",
            "run it by hand: python -m agents agent-context",
        )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


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
