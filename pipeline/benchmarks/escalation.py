"""Open alerts while their agent is killed again and again: does every step reach its receiver once, and none get lost?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from pipeline.adapters.local.fork_server import ForkServer
from pipeline.adapters.local.process import Child, Launch
from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.local.table import environment
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.escalation import PostgresAlerts
from pipeline.adapters.site.document import of
from pipeline.benchmarks import servers
from pipeline.domain import alert_words, escalation
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import Channel, EscalationPolicy, Step
from pipeline.domain.site import DEFAULT
from pipeline.errors import StackError
from pipeline.ports.escalation import AlertChange
from pipeline.settings import Settings
from pipeline.simulation.receivers import Arrived, WebhookReceiver

DRAIN_S = 600.0
SERVER_WITHIN_S = 120.0
LIFE_WITHIN_S = 60.0
AT_WORK_S = 0.25
"""A step that arrived so shortly before a kill says that the agent was sending when it was killed."""
PRELOAD = (
    "agents.escalation",
    "agents.worker",
    "pipeline.adapters.notify.channels",
    "pipeline.adapters.postgres.escalation",
    "pipeline.adapters.postgres.site",
    "pipeline.adapters.site.source",
    "pipeline.services.escalation_stage",
    "pipeline.services.site_rules",
    "httpcore",
    "faust.assignor.leader_assignor",
    "faust.cli.worker",
    "faust.livecheck",
    "faust.stores.memory",
    "faust.tables.manager",
    "faust.topics",
    "faust.web.drivers.aiohttp",
)
"""What the agent imports, the last ones as late as when its worker starts."""
SECRET = "READFIRST_BENCH_WEBHOOK_SECRET"


@dataclass(frozen=True, slots=True)
class Trial:
    """alerts: open ones, a step of each due within `seconds`, evenly.

    The agent is killed every `kill_every_s`, by the clock, for `seconds`, and started again at once. It starts as a fork of a process that
    has its imports (fork_server.py): else most kills would meet it before it had sent anything. steps_a_life: instead of by the clock it is
    killed as soon as so many steps have arrived since its start, as often: a test that does not depend on the machine's speed.
    """

    alerts: int = 10_000
    seconds: float = 60.0
    kill_every_s: float = 2.0
    steps_a_life: int | None = None

    @property
    def kills(self) -> int:
        """How often."""
        return max(int(self.seconds / self.kill_every_s), 1)


@dataclass(slots=True)
class Heard:
    """When each message arrived (monotonic, s), in order; called from the receiver's threads, one at a time."""

    at: list[float] = field(default_factory=list)

    def __call__(self, arrived: Arrived) -> None:
        self.at.append(time.monotonic())


def measure(trial: Trial, progress: Progress) -> dict[str, Any]:
    """On a broker and a database of its own."""
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("postgres", "kafka"), steps=()) as settings:
        return run(trial, servers.fresh_ground(settings).settings, data, progress)


def run(trial: Trial, settings: Settings, data: Path, progress: Progress) -> dict[str, Any]:
    """On servers with today's schema and topics. Raises StackError when steps are still missing long after the last kill."""
    heard = Heard()
    with WebhookReceiver(heard) as receiver:
        policy = _policy(receiver)
        file = data / "bench-site.yaml"
        file.write_text(_site(policy), "utf-8")
        launch = Launch([sys.executable, "-m", "agents", "agent-escalation"], data / "agent.log", _environment(settings, file, receiver))
        with _fork_server(launch) as forks:
            keys = asyncio.run(_raise(trial, settings, policy))
            started = time.monotonic()
            kills = _kill(trial, launch, forks, heard, progress)
            during = len({message.key for message in receiver.received})
            progress("killed", f"{len(kills) - 1} times; {during:,} steps sent meanwhile")
            with _agent(launch, forks):
                _drained(receiver, keys)
        seconds = time.monotonic() - started
    return {**_result(trial, receiver, keys, seconds), **under_fire(kills, heard.at), "sent_under_fire": during}


def under_fire(kills: list[float], arrivals: list[float]) -> dict[str, Any]:
    """What the agent did between its kills. kills: the first start, then each kill (monotonic, s); a new agent starts at each."""
    lives = [[at - start for at in arrivals if start <= at < end] for start, end in pairwise(kills)]
    lengths = [end - start for start, end in pairwise(kills)]
    sent = [len(life) for life in lives]
    firsts = [life[0] for life in lives if life]
    return {
        "kills": len(lives),
        "kills_after_a_step": sum(bool(life) for life in lives),
        "kills_at_work": sum(bool(life) and length - life[-1] <= AT_WORK_S for life, length in zip(lives, lengths, strict=True)),
        "sent_in_a_life": {"least": min(sent), "median": round(median(sent)), "most": max(sent)},
        "first_step_after_s": round(median(firsts), 2) if firsts else None,
    }


def _result(trial: Trial, receiver: WebhookReceiver, keys: set[str], seconds: float) -> dict[str, Any]:
    times: Counter[str] = Counter(message.key for message in receiver.received)
    unmarked = Counter(message.key for message in receiver.received if not message.repeat)
    return {
        "alerts": trial.alerts,
        "seconds": trial.seconds,
        "kill_every_s": trial.kill_every_s,
        "steps": len(keys),
        "sent_once": sum(times[key] == 1 for key in keys),
        "repeats": sum(times.values()) - len(times),
        "unmarked_repeats": sum(count > 1 for count in unmarked.values()),
        "most_often": max(times.values(), default=0),
        "missed": sum(times[key] == 0 for key in keys),
        "unknown": sum(key not in keys for key in times),
        "all_sent_after_s": round(seconds, 1),
    }


def _policy(receiver: WebhookReceiver) -> EscalationPolicy:
    """One step now, the next in a quarter of an hour: what is due is due once. Lateness is not what is measured here."""
    channels = {"page": Channel(), "hook": Channel("webhook", receiver.url, f"${{{SECRET}}}")}
    steps = (Step(0, "radiologist", "hook"), Step(15, "senior", "hook"))
    return replace(DEFAULT.escalation, channels=channels, steps=steps, late=timedelta(hours=1))


def _site(policy: EscalationPolicy) -> str:
    """Its escalation alone, as JSON, which is YAML: the agent reads the file at each start."""
    document = of(replace(DEFAULT, version="bench/1", escalation=policy)).model_dump(by_alias=True, mode="json")
    return json.dumps({part: document[part] for part in ("schema", "version", "escalation")})


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
    return {**os.environ, **environment(settings), **own}


@contextmanager
def _fork_server(launch: Launch) -> Iterator[ForkServer]:
    """From which the agent starts in a moment; elsewhere than on Linux it starts the long way."""
    server = ForkServer(PRELOAD, launch.log, launch.env)
    if sys.platform != "linux":
        yield server
        return
    child = Child(server.launch())
    try:
        deadline = time.monotonic() + SERVER_WITHIN_S
        while not server.ready():
            if time.monotonic() > deadline or child.exit_code() is not None:
                raise StackError("the agent's modules were not imported", f"read {launch.log}")
            time.sleep(0.02)
        yield server
    finally:
        child.stop()
        server.close()


def _kill(trial: Trial, launch: Launch, forks: ForkServer, heard: Heard, progress: Progress) -> list[float]:
    """The first start, then each kill (monotonic, s). By the clock a start that is slow takes from the agent's own time."""
    moments = [time.monotonic()]
    for number in range(1, trial.kills + 1):
        until = moments[0] + number * trial.kill_every_s
        with _agent(launch, forks) as agent:
            if trial.steps_a_life is None:
                time.sleep(max(until - time.monotonic(), 0.0))
            else:
                _wait_for(len(heard.at) + trial.steps_a_life, heard, launch)
            if agent.exit_code() is not None:
                raise StackError(f"the escalation agent ended by itself, with {agent.exit_code()}", f"read {launch.log}")
            agent.signal(signal.SIGKILL)
            moments.append(time.monotonic())
        if number % 5 == 0:
            progress("agent", f"killed {number} times")
    return moments


def _wait_for(steps: int, heard: Heard, launch: Launch) -> None:
    deadline = time.monotonic() + LIFE_WITHIN_S
    while len(heard.at) < steps:
        if time.monotonic() > deadline:
            raise StackError(f"the escalation agent sent less than asked for in {LIFE_WITHIN_S:.0f} s", f"read {launch.log}")
        time.sleep(0.005)


@contextmanager
def _agent(launch: Launch, forks: ForkServer) -> Iterator[Child]:
    agent = Child(launch, forks.fork)
    try:
        yield agent
    finally:
        agent.signal(signal.SIGKILL)
        agent.stop()


def _drained(receiver: WebhookReceiver, keys: set[str]) -> None:
    """Waits until every step has arrived, and a moment longer, in which a second one would."""
    deadline = time.monotonic() + DRAIN_S
    while keys - {message.key for message in list(receiver.received)}:
        if time.monotonic() > deadline:
            missing = len(keys - {message.key for message in receiver.received})
            raise StackError(f"{missing} of {len(keys)} steps have not arrived after {DRAIN_S:.0f} s", "read agent.log in the data folder")
        time.sleep(0.5)
    time.sleep(3.0)
