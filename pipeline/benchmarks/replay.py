"""Replay and record: events a second, memory, and the size of a log beside its JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline import bootstrap
from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import servers
from pipeline.benchmarks.hospital_day import PARTITIONS, Day
from pipeline.errors import StackError
from pipeline.ports import Record
from pipeline.replay import recording, running
from pipeline.replay.log_file import LogHeader, LogWriter
from pipeline.settings import Kafka, Settings
from schemas.topics import BY_NAME, INPUTS

START = datetime(2026, 3, 2, tzinfo=UTC)
MODEL_SHARE = 20
"""The model is asked about a day so many times smaller: it takes a multiple of all the rest. So are the live stages."""
LIVE_ROLES = ("agent-context", "agent-ranking")
LIVE_LIMIT_S = 600.0


def measure_replay(day: Day, progress: Progress) -> dict[str, Any]:
    """The day by the rules, its first quarter (is memory flat?), and a smaller day with the model; each in a process of its own.

    The smaller day goes through a real Kafka into the live stages as well.
    """
    with tempfile.TemporaryDirectory(prefix="readfirst-bench-") as folder:
        log, small = Path(folder) / "day.rfl", Path(folder) / "small.rfl"
        share = _write(log, day)
        progress("log", f"{day.events:,} events, {log.stat().st_size / 2**20:.0f} MiB")
        quarter = _replay(log, "rules", until="2026-03-02T06:00")
        whole = _replay(log, "rules")
        progress("rules", f"{whole['events_per_s']:,} events/s, {whole['memory_mib']} MiB")
        again = _replay(log, "rules")
        if again["digest"] != whole["digest"]:
            raise StackError("two replays of one log differ", "please report it, with the log's seed")
        smaller = Day(day.start, day.events // MODEL_SHARE, max(day.beds // MODEL_SHARE, 1), day.seed)
        _write(small, smaller)
        model = _replay(small, "model")
        progress("model", f"{model['events_per_s']:,} events/s")
        live = _through_the_stack(small, progress)
        progress("live", f"{live['events_per_s']:,} events/s")
    kept = ("events", "moves", "seconds", "cpu_s", "events_per_s", "memory_mib")
    return {
        "beds": day.beds,
        "file_share": round(share, 3),
        "rules": {name: whole[name] for name in kept},
        "quarter_memory_mib": quarter["memory_mib"],
        "model": {name: model[name] for name in kept},
        "live": live,
    }


def measure_record(day: Day, progress: Progress) -> dict[str, Any]:
    """The day out of a real Kafka into a file."""
    with (
        servers.folder() as data,
        servers.stack(data, progress, roles=(), servers=("postgres", "kafka"), steps=()) as settings,
        tempfile.TemporaryDirectory(prefix="readfirst-bench-") as folder,
    ):
        ground = servers.fresh_ground(settings)
        asyncio.run(_fill(ground.kafka, day))
        log = Path(folder) / "day.rfl"
        begun = time.perf_counter()
        done = recording.record(ground.kafka, log, recording.Wanted(INPUTS), "default/1")
        seconds = time.perf_counter() - begun
        progress("record", f"{done.records / seconds:,.0f} records/s")
        return {
            "records": done.records,
            "seconds": round(seconds, 2),
            "records_per_s": round(done.records / seconds),
            "bytes": log.stat().st_size,
            "json_bytes": done.json_bytes,
            "file_share": round(log.stat().st_size / done.json_bytes, 3),
        }


def _write(path: Path, day: Day) -> float:
    schemas = {topic.name: str(topic.document.__struct_config__.tag) for topic in INPUTS}
    with LogWriter(path, LogHeader(created_at=START, schemas=schemas, partitions=PARTITIONS)) as writer:
        for record in day.records():
            writer.write(record)
    return path.stat().st_size / writer.json_bytes


def _replay(log: Path, scorer: str, until: str | None = None) -> dict[str, Any]:
    """By the command itself; with its peak of resident memory."""
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "replay",
        str(log),
        "--scorer",
        scorer,
        "--json",
        *(["--until", until] if until else []),
    ]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    told = child.stdout.read().decode().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or not told:
        raise StackError(f"the replay failed (exit code {child.returncode})", f"run it by hand: {' '.join(command[1:])}")
    found: dict[str, Any] = json.loads(told[-1])
    return {**found, "memory_mib": round(usage.ru_maxrss / 1024)}


def _through_the_stack(log: Path, progress: Progress) -> dict[str, Any]:
    """As `readfirst replay LOG --live`: from the first record sent to the last rank, by one worker of each stage."""
    with servers.folder() as data, servers.stack(data, progress, roles=LIVE_ROLES, servers=("postgres", "kafka")) as settings:
        reader, begun = running.opened(log, salvage=False), time.perf_counter()
        events = running.fed(reader, settings, None, None, lambda done, total: None)
        reader.close()
        asyncio.run(_until_idle(settings))
        seconds = time.perf_counter() - begun
    return {"events": events, "seconds": round(seconds, 2), "events_per_s": round(events / seconds)}


async def _until_idle(settings: Settings) -> None:
    """Nothing waits before the live stages. A stage's offsets move when what follows is in Kafka, so that one look is enough."""
    async with bootstrap.resources(settings) as resources, resources.monitor() as monitor:
        deadline = time.monotonic() + LIVE_LIMIT_S
        while any(each.records for each in (await monitor.look()).stages if f"agent-{each.stage.name}" in LIVE_ROLES):
            if time.monotonic() > deadline:
                raise StackError(f"the live stages were not through after {LIVE_LIMIT_S:.0f} s", "measure on a quieter machine")
            await asyncio.sleep(0.1)


async def _fill(kafka: Kafka, day: Day) -> None:
    log, records = KafkaEventLog(kafka, timeout_s=60), day.records()
    try:
        while chunk := list(islice(records, 5_000)):
            await log.append([Record(BY_NAME[record.topic], record.key, record.value, record.headers) for record in chunk])
    finally:
        await log.close()
