"""From a message that a gateway accepted to the committed rank, and to a page that sees it, with the whole stack on this machine."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import patients, servers
from pipeline.benchmarks.patients import Patient
from pipeline.benchmarks.processes import cores, cpu_seconds
from pipeline.errors import StackError, Unavailable
from pipeline.settings import Settings
from pipeline.simulation.accounts import Accounts
from pipeline.simulation.messages import Hl7
from pipeline.simulation.sender import Sender

RATES = (50, 200, 1000)
WARM_RATE, WARM_S = 100, 10
PATIENTS = 200
CONNECTIONS = 32
_MESSAGES = """
select fact.patient, receipt.received_at, fact.event_id::text
from intake.receipt, unnest(receipt.event_ids) as event (id) join fact on fact.event_id = event.id
where receipt.received_at >= %s and fact.recorded_at >= %s - interval '1 minute' and fact.topic = 'vitals'
order by receipt.received_at
"""
_CHANGES = """
select item.patient, change.event_id, change.stored_at from rank_change change join worklist_item item using (study_uid)
where change.stored_at >= %s order by change.stored_at
"""


@dataclass(slots=True)
class Sightings:
    """When something was told for the first time: times and the numbers told, both growing."""

    times: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Tells that `number` was seen now."""
        if not self.numbers or number > self.numbers[-1]:
            self.numbers.append(number)
            self.times.append(time.time())

    def first_after(self, moment: float) -> int | None:
        """The first number told after a moment, seconds since the epoch."""
        at = bisect_left(self.times, moment)
        return self.numbers[at] if at < len(self.numbers) else None

    def when(self, number: int) -> float | None:
        """When `number` or a later one was told."""
        at = bisect_left(self.numbers, number)
        return self.times[at] if at < len(self.times) else None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message: whose, when a gateway accepted it (seconds since the epoch), and its event."""

    patient: str
    at: float
    event_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """A stored change of rank and the event it names as its cause."""

    patient: str
    event_id: str
    stored: float


def delays(
    messages: Sequence[Accepted], changes: Sequence[Change], commits: Sightings, pages: Sightings
) -> tuple[list[float], list[float], int]:
    """Seconds to the commit and to the page for each message, and how many no change of the list followed.

    A message is in the list with the first change of its patient's that was caused by it or by a later message: bursts are folded.
    """
    accepted = {message.event_id: message.at for message in messages}
    of_patient: dict[str, list[tuple[float, Change]]] = defaultdict(list)
    for change in changes:
        if change.event_id in accepted:
            of_patient[change.patient].append((accepted[change.event_id], change))
    committed, seen, unmatched = [], [], 0
    for message in messages:
        following = (change.stored for cause, change in of_patient[message.patient] if cause >= message.at)
        stored = min(following, default=None)
        seq = None if stored is None else commits.first_after(stored)
        at = (None, None) if seq is None else (commits.when(seq), pages.when(seq))
        if at[0] is None or at[1] is None:
            unmatched += 1
            continue
        committed.append(at[0] - message.at)
        seen.append(at[1] - message.at)
    return committed, seen, unmatched


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds; None where nothing was measured."""
    ordered = sorted(seconds)
    return {
        f"p{share}": round(ordered[min(len(ordered) * share // 100, len(ordered) - 1)] * 1000, 1) if ordered else None
        for share in (50, 95, 99)
    }


def measure(seconds: float, progress: Progress, rates: Sequence[int] = RATES) -> dict[str, Any]:
    """Each rate for `seconds`. Raises StackError."""
    with servers.folder() as data, servers.stack(data, progress) as settings:
        return asyncio.run(_measure(settings, seconds, progress, rates))


async def _measure(settings: Settings, seconds: float, progress: Progress, rates: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    commits, pages = Sightings(), Sightings()
    watchers = [asyncio.create_task(_watch_commits(settings, commits)), asyncio.create_task(_watch_page(settings, pages))]
    people = patients.patients(PATIENTS, f"{int(time.time()) % 100_000:05d}")
    try:
        progress("patients", f"{len(people)} orders and images")
        await _admit(settings, people)
        progress("warm-up", f"{WARM_S} s at {WARM_RATE}/s: every patient's window, prepared statements, the JVM's compiler")
        await _at_rate(settings, people, WARM_RATE, WARM_S, commits, pages)
        for rate in rates:
            await _quiet(settings)
            found[str(rate)] = await _at_rate(settings, people, rate, seconds, commits, pages)
            progress(f"{rate}/s", f"accepted {found[str(rate)]['accepted_per_s']}/s, seen after {found[str(rate)]['seen_ms']} ms")
            for watcher in watchers:
                if watcher.done():
                    watcher.result()
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
    return {"rates": found, "seconds": seconds, "patients": PATIENTS, "connections": CONNECTIONS}


async def _admit(settings: Settings, people: Sequence[Patient]) -> None:
    ris = Hl7("BENCHRIS")
    async with Sender(settings.gateways) as sender:
        for patient in people:
            await sender.send(patients.order(ris, patient))
            await sender.send(patients.picture(patient))


async def _quiet(settings: Settings, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    async with Accounts(settings, datetime.now(UTC)) as accounts:
        while await accounts.lag():
            if time.monotonic() > deadline:
                raise StackError("the stack did not come to rest", "measure on a quieter machine")
            await asyncio.sleep(0.5)
    await asyncio.sleep(1)


async def _at_rate(
    settings: Settings, people: Sequence[Patient], rate: int, seconds: float, commits: Sightings, pages: Sightings
) -> dict[str, Any]:
    """Open loop: a message is due at its time whether or not those before it are through."""
    since = datetime.now(UTC)
    lines: list[asyncio.Queue[tuple[float, Patient, int]]] = [asyncio.Queue() for _ in range(CONNECTIONS)]
    waits: list[float] = []
    senders = [asyncio.create_task(_line(settings, f"BENCH{n}R{rate}", line, waits)) for n, line in enumerate(lines)]
    began, processor = time.time(), cpu_seconds(settings.data)
    for n in range(round(rate * seconds)):
        due = began + n / rate
        if (pause := due - time.time()) > 0:
            await asyncio.sleep(pause)
        who = n % len(people)
        lines[who % CONNECTIONS].put_nowait((due, people[who], n // len(people)))
    ended = began + seconds
    await asyncio.sleep(max(0.0, ended - time.time()))
    accepted, busy = len(waits), cores(processor, cpu_seconds(settings.data), time.time() - began)
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.gather(*(line.join() for line in lines))
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    await _quiet(settings)
    messages, changes = await _stored(settings, since)
    committed, seen, unmatched = delays(messages, changes, commits, pages)
    return {
        "sent_per_s": rate,
        "accepted_per_s": round(accepted / seconds, 1),
        "due_to_ack_ms": percentiles(waits),
        "committed_ms": percentiles(committed),
        "seen_ms": percentiles(seen),
        "messages": len(messages),
        "rank_changes": len(changes),
        "unmatched": unmatched,
        "not_taken_in_time": round(rate * seconds) - len(messages),
        "scorers": await _scorers(settings),
        "cores_busy": busy,
    }


async def _line(settings: Settings, name: str, line: asyncio.Queue[tuple[float, Patient, int]], waits: list[float]) -> None:
    monitor = Hl7(f"{name}T{int(time.time())}")
    async with Sender(settings.gateways) as sender:
        while True:
            due, patient, turn = await line.get()
            message = patients.vitals(monitor, patient, turn)
            while True:
                try:
                    answer = await sender.send(message)
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
            if answer.outcome != "accepted":
                raise StackError(f"the gateway refused a vital sign: {answer.reason}")
            waits.append(time.time() - due)
            line.task_done()


async def _stored(settings: Settings, since: datetime) -> tuple[list[Accepted], list[Change]]:
    async with await psycopg.AsyncConnection.connect(settings.postgres.dsn.get_secret_value()) as connection:
        messages = await (await connection.execute(_MESSAGES, [since, since])).fetchall()
        changes = await (await connection.execute(_CHANGES, [since])).fetchall()
    return (
        [Accepted(patient, at.timestamp(), event_id) for patient, at, event_id in messages],
        [Change(patient, event_id, stored.timestamp()) for patient, event_id, stored in changes],
    )


async def _scorers(settings: Settings) -> dict[str, int]:
    """Who gave the risk of the studies on the list."""
    async with await psycopg.AsyncConnection.connect(settings.postgres.dsn.get_secret_value()) as connection:
        rows = await connection.execute("select coalesce(scorer, 'none'), count(*) from worklist_item where not closed group by 1")
        return {scorer: count for scorer, count in await rows.fetchall()}


async def _watch_commits(settings: Settings, commits: Sightings) -> None:
    async with await psycopg.AsyncConnection.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        await connection.execute("listen worklist")
        async for notice in connection.notifies():
            commits.add(int(notice.payload))


async def _watch_page(settings: Settings, pages: Sightings) -> None:
    url = f"http://{settings.web.host}:{settings.web.port}/api/events"
    async with httpx.AsyncClient(timeout=None) as client, client.stream("GET", url) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data:") and (seq := json.loads(line.removeprefix("data:")).get("seq")) is not None:
                pages.add(int(seq))
