"""The product's context worker on a load of its own: started as a process, watched from outside until it is through."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import psycopg

from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.local.process import Child, Launch, tail
from pipeline.adapters.local.table import environment
from pipeline.benchmarks.servers import Ground
from pipeline.benchmarks.vitals import Load
from pipeline.errors import StackError
from pipeline.ports import Record
from schemas.topics import IMAGING, ORDERS, VITALS, Topic

GROUP = "readfirst-context"
LIMIT_S = 600.0
Variables = Mapping[str, str]
"""Further environment of the worker."""
NONE: Variables = MappingProxyType({})
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

    @property
    def per_cpu_s(self) -> float:
        """Events a processor second."""
        return self.events / max(self.cpu_s, 1e-9)


async def fill(ground: Ground, records: Iterator[Record]) -> None:
    """Writes the records to the ground's topics. Raises Unavailable."""
    log = KafkaEventLog(ground.kafka, timeout_s=60)
    try:
        while chunk := list(islice(records, 5000)):
            await log.append(chunk)
    finally:
        await log.close()


def learn(ground: Ground, load: Load, data: Path, variables: Variables = NONE) -> None:
    """Lets the product hear of the studies, so that it knows from the first vital sign on whose matter. Raises StackError."""
    with _worker(ground, data, variables) as watched:
        for topic in (ORDERS, IMAGING):
            watched.reach(topic, load.open_patients)


def run(ground: Ground, load: Load, data: Path, variables: Variables = NONE) -> Run:
    """The product's own worker, watched from outside: the applied offsets in Postgres say how far it is. Raises StackError."""
    with _worker(ground, data, variables) as watched:
        begun = watched.reach(VITALS, 1)
        ended = watched.reach(VITALS, load.events)
    if begun.events == ended.events:
        raise StackError("the load is too small to be timed", "give more --events")
    return Run(ended.events - begun.events, ended.seconds - begun.seconds, ended.cpu_s - begun.cpu_s)


@contextmanager
def _worker(ground: Ground, data: Path, variables: Variables) -> Iterator[_Watched]:
    own = {"READFIRST_KAFKA__TOPIC_PREFIX": ground.kafka.topic_prefix, "READFIRST_LOG_LEVEL": "warning"}
    env = {**environment(ground.settings.model_copy(update={"data": data})), **own, **variables}
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
