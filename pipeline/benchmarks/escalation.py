"""Open alerts while their agent is killed again and again: does every step reach its receiver once, and none get lost?"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from pipeline.adapters.local import heartbeat
from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.local.table import environment
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.escalation import PostgresAlerts
from pipeline.adapters.site.document import of
from pipeline.adapters.site.published import as_yaml
from pipeline.benchmarks import servers
from pipeline.domain import alert_words, escalation
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import Channel, EscalationPolicy, Step
from pipeline.domain.site import DEFAULT
from pipeline.errors import StackError
from pipeline.ports.escalation import AlertChange
from pipeline.settings import Settings
from pipeline.simulation.receivers import WebhookReceiver

DRAIN_S = 300.0
SECRET = "READFIRST_BENCH_WEBHOOK_SECRET"


@dataclass(frozen=True, slots=True)
class Trial:
    """alerts: open ones, a step of each due within `seconds`, evenly.

    The agent is killed `kill_every_s` after it has come up, as often as that goes into `seconds`, and started again: so each kill meets it
    at its work, however slow the machine is.
    """

    alerts: int = 10_000
    seconds: float = 60.0
    kill_every_s: float = 2.0
    up_within_s: float = 60.0


def measure(trial: Trial, progress: Progress) -> dict[str, Any]:
    """On a broker and a database of its own."""
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("postgres", "kafka"), steps=()) as settings:
        return run(trial, servers.fresh_ground(settings).settings, data, progress)


def run(trial: Trial, settings: Settings, data: Path, progress: Progress) -> dict[str, Any]:
    """On servers with today's schema and topics. Raises StackError when steps are still missing long after the last kill."""
    with WebhookReceiver() as receiver:
        policy = _policy(receiver)
        file = data / "bench-site.yaml"
        file.write_text(as_yaml(of(replace(DEFAULT, version="bench/1", escalation=policy))), "utf-8")
        keys = asyncio.run(_raise(trial, settings, policy))
        started = time.monotonic()
        env = _environment(settings, file, receiver)
        kills = _kill_for(trial, env, data / "agent.log", progress)
        during = len({message.key for message in receiver.received})
        progress("killed", f"{kills} times; {during:,} steps sent meanwhile")
        with _agent(env, data / "agent.log"):
            _drained(receiver, keys)
        seconds = time.monotonic() - started
    return {**_result(trial, receiver, keys, kills, seconds), "sent_under_fire": during}


def _result(trial: Trial, receiver: WebhookReceiver, keys: set[str], kills: int, seconds: float) -> dict[str, Any]:
    times: Counter[str] = Counter(message.key for message in receiver.received)
    unmarked = Counter(message.key for message in receiver.received if not message.repeat)
    return {
        "alerts": trial.alerts,
        "seconds": trial.seconds,
        "kill_every_s": trial.kill_every_s,
        "kills": kills,
        "steps": len(keys),
        "sent_once": sum(times[key] == 1 for key in keys),
        "sent_twice_and_marked": sum(times[key] == 2 and unmarked[key] <= 1 for key in keys),
        "unmarked_repeats": sum(count > 1 for count in unmarked.values()),
        "more_than_twice": sum(times[key] > 2 for key in keys),
        "missed": sum(times[key] == 0 for key in keys),
        "unknown": sum(key not in keys for key in times),
        "all_sent_after_s": round(seconds, 1),
    }


def _policy(receiver: WebhookReceiver) -> EscalationPolicy:
    """One step now, the next in a quarter of an hour: what is due is due once. Lateness is not what is measured here."""
    channels = {"page": Channel(), "hook": Channel("webhook", receiver.url, f"${{{SECRET}}}")}
    steps = (Step(0, "radiologist", "hook"), Step(15, "senior", "hook"))
    return replace(DEFAULT.escalation, channels=channels, steps=steps, late=timedelta(hours=1))


async def _raise(trial: Trial, settings: Settings, policy: EscalationPolicy) -> set[str]:
    """Open alerts in the database, and the keys of their first steps."""
    begin = datetime.now(UTC) + timedelta(seconds=1)
    alerts = [_alert(number, begin + timedelta(seconds=trial.seconds * number / trial.alerts), policy) for number in range(trial.alerts)]
    async with Database.from_settings(settings.postgres) as database:
        store = PostgresAlerts(database)
        for start in range(0, len(alerts), 1000):
            part = alerts[start : start + 1000]
            async with store.begin() as transaction:
                await transaction.store([AlertChange(one, alert_words.entry(one, "raised", one.finding, begin)) for one in part])
    return {due.key for alert in alerts if (due := escalation.due(alert, alert.raised_at, policy)) is not None}


def _alert(number: int, at: datetime, policy: EscalationPolicy) -> Alert:
    uid = f"2.25.{number}"
    blank = Alert(
        id=escalation.alert_id(uid, "critical"),
        subject=uid,
        study_uid=uid,
        patient=f"bench-{number}",
        trigger="critical",
        category=1,
        state="notified",
        raised_at=at,
        ladder_from=at,
        identified_at=at,
        changed_at=at,
        what="CT HEAD",
        finding="K 6.8 mmol/L, critical above 6.1",
    )
    return escalation.started(msgspec.structs.replace(blank, signs={"critical-lab:potassium": 25.0}), at, policy)


def _environment(settings: Settings, file: Path, receiver: WebhookReceiver) -> dict[str, str]:
    own = {
        "READFIRST_SITE_FILE": str(file),
        SECRET: receiver.secret,
        "READFIRST_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "READFIRST_KAFKA__PARTITIONS": str(settings.kafka.partitions),
        "READFIRST_DATA": str(file.parent),
        "OMP_NUM_THREADS": "1",
    }
    return {**environment(settings), **own}


def _kill_for(trial: Trial, env: dict[str, str], log: Path, progress: Progress) -> int:
    """How often the agent was killed."""
    kills = max(int(trial.seconds / trial.kill_every_s), 1)
    for number in range(1, kills + 1):
        beat = log.with_name(f"beat-{number}")
        with _agent({**env, heartbeat.VARIABLE: str(beat)}, log) as agent:
            deadline = time.monotonic() + trial.up_within_s
            while not beat.exists():
                if time.monotonic() > deadline or agent.poll() is not None:
                    raise StackError("the escalation agent did not come up", f"read {log}")
                time.sleep(0.02)
            time.sleep(trial.kill_every_s)
            agent.send_signal(signal.SIGKILL)
        if number % 5 == 0:
            progress("agent", f"killed {number} times")
    return kills


@contextmanager
def _agent(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        agent = subprocess.Popen(
            [sys.executable, "-m", "agents", "agent-escalation"],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()


def _drained(receiver: WebhookReceiver, keys: set[str]) -> None:
    """Waits until every step has arrived, and a moment longer, in which a second one would."""
    deadline = time.monotonic() + DRAIN_S
    while keys - {message.key for message in list(receiver.received)}:
        if time.monotonic() > deadline:
            missing = len(keys - {message.key for message in receiver.received})
            raise StackError(f"{missing} of {len(keys)} steps have not arrived after {DRAIN_S:.0f} s", "read agent.log in the data folder")
        time.sleep(0.5)
    time.sleep(3.0)
