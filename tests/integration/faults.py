"""A running product to break, the hospital that goes on sending meanwhile, and the books afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from pipeline.adapters.kafka import topics
from pipeline.adapters.local.process import Child, Launch
from pipeline.adapters.local.stack import Stack, run_role, status
from pipeline.adapters.local.state import PartState, State
from pipeline.adapters.local.table import environment
from pipeline.adapters.postgres.accounting import PostgresAccounting, Standing
from pipeline.errors import StackError, Unavailable
from pipeline.settings import Gateways, Settings
from pipeline.simulation.accounts import READERS, Accounts, reconciled
from pipeline.simulation.feed import Feed
from pipeline.simulation.hospital import Hospital, Plan
from pipeline.simulation.messages import Outgoing
from schemas import codec
from schemas.topics import WORKLIST

SETTLES_S = 240.0
"""Far more than a stage needs on an idle machine; a test that waits so long fails."""


async def until(condition: Callable[[], bool], what: str, seconds: float = SETTLES_S) -> None:
    """Waits without holding the event loop. AssertionError when the time is up."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"still not: {what}"
        await asyncio.sleep(0.2)


@dataclass(frozen=True)
class Product:
    """The real stack of one data folder, with all its roles."""

    data: Path
    settings: Settings

    def part(self, name: str) -> PartState:
        """As the supervisor sees it at one moment."""
        return next(row for row in status(self.data).parts if row.name == name)

    def asked(self, role: str, path: str) -> str:
        """What a role's own endpoint says at this path, whatever the status; "" where nobody answers."""
        targets = json.loads((self.data / "run" / "prometheus.json").read_text())
        (address,) = next(target["targets"] for target in targets if target["labels"]["role"] == role)
        try:
            return httpx.get(f"http://{address}{path}", timeout=60).text.strip()
        except httpx.TransportError:
            return ""

    def signal(self, part: str, number: signal.Signals) -> None:
        """To the part's process, which has to be running."""
        identity = self.part(part).identity
        assert identity is not None, f"{part} does not run"
        os.kill(identity.pid, number)

    def log(self, part: str) -> str:
        """What the part has written since it was first started."""
        return (self.data / "log" / f"{part}.log").read_text(errors="replace")

    async def healthy(self) -> None:
        """Waits until every part is."""
        await until(lambda: status(self.data).healthy, f"healthy: {[(p.name, str(p.state)) for p in status(self.data).parts]}")

    @asynccontextmanager
    async def killed(self, part: str) -> AsyncIterator[None]:
        """kill -9 at the beginning of the block; at its end the supervisor must have the part running again, as another process.

        A part that hung may have met its end by the supervisor just before: what it must come back from is the same.
        """
        before = self.part(part)
        if before.identity is not None:
            with suppress(ProcessLookupError):
                os.kill(before.identity.pid, signal.SIGKILL)
        yield

        def back() -> bool:
            now = self.part(part)
            return now.state is State.HEALTHY and now.identity not in (None, before.identity) and now.restarts > before.restarts

        await until(back, f"{part} is back")

    @contextmanager
    def another_worker(self, role: str, name: str) -> Iterator[Child]:
        """A second worker of a role beside the stack's own, with the stack's environment; killed at the end of the block."""
        log = self.data / "log" / f"{name}.log"
        child = Child(Launch(run_role(role), log, environment(self.settings), orphan_signal=signal.SIGKILL))
        try:
            yield child
        finally:
            child.signal(signal.SIGCONT)
            child.sweep()
            child.wait(60)

    async def joined(self, name: str, times: int = 1) -> None:
        """Waits until the worker that writes this log was given partitions so often."""
        await until(lambda: self.log(name).count("partitions_assigned") >= times, f"{name} has joined")


@contextmanager
def product(data: Path) -> Iterator[Product]:
    """The whole product, started and stopped as `readfirst up` does."""
    from pipeline.models.serving import build_repository

    stack = Stack(data, build_models=lambda target: build_repository(target, "cpu"))
    stack.start(lambda part, what: print(f"{time.monotonic():.1f} {part}: {what}"))
    try:
        yield Product(data, stack.addresses())
    finally:
        stack.stop()


@dataclass
class Scenario:
    """One hospital, told apart from the others by its run id."""

    product: Product
    seed: int
    studies: int = 22
    observations: int = 12
    seconds: float = 20.0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    sent: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    summary: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run = f"{int(self.began.timestamp()) % 100_000:05d}{self.seed}"
        plan = Plan(studies=self.studies, observations=self.observations, seed=self.seed)
        self.length = timedelta(hours=plan.hours)
        self.messages = list(Hospital(plan, lambda at: self.began - self.length + at, self.run).messages())

    @asynccontextmanager
    async def feeding(self) -> AsyncIterator[None]:
        """The hospital sends while the block runs, and goes on until all is answered."""
        sending = asyncio.create_task(self.send(self.messages, self.seconds))
        try:
            yield
            await asyncio.wait_for(sending, SETTLES_S)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def send(self, messages: list[Outgoing], seconds: float, gateways: Gateways | None = None) -> None:
        """Sends the messages, their times pressed into so many seconds; through other addresses where given."""
        settings = self.product.settings.model_copy(update={"gateways": gateways or self.product.settings.gateways})
        async with Feed(settings) as feed:
            try:
                await feed.send(iter(messages), speed=self.length.total_seconds() / seconds)
            finally:
                self.sent += feed.sent
                self.retried += feed.retried
        assert not feed.refused, feed.refused

    async def check(self) -> None:
        """Waits until all is accounted for, then reads the books: nothing lost, nothing doubled, every list entry right."""
        async with Accounts(self.product.settings, self.began) as accounts:
            self.summary = await reconciled(accounts, self, SETTLES_S)
            print(json.dumps(self.summary))
            assert self.summary["unaccounted"] == 0, self.summary
            assert self.summary["dead_lettered"] == {}, self.summary
            assert not self.summary["refused"], self.summary
            await self._once_each(accounts)
            await self._scored(accounts)
            await self._complete(accounts)
            await until(partial(caught_up, self.product.settings), "no lag")

    def expected(self) -> dict[str, int]:
        """Study UID -> instances, of the studies that have images and no report."""
        images: dict[str, set[str]] = {}
        for message in self.messages:
            if message.dicom is not None:
                images.setdefault(message.dicom.StudyInstanceUID, set()).add(message.dicom.SOPInstanceUID)
        accessions = {m.dicom.AccessionNumber: m.dicom.StudyInstanceUID for m in self.messages if m.dicom is not None}
        reports = [m.hl7.decode() for m in self.messages if m.source == "reporting" and m.hl7 is not None]
        read = {study for accession, study in accessions.items() if accession and any(f"|{accession}^RIS|" in each for each in reports)}
        return {study: len(uids) for study, uids in images.items() if study not in read}

    async def _accepted(self, accounts: Accounts) -> list[str]:
        query = "select unnest(event_ids)::text from intake.receipt where outcome = 'accepted' and received_at >= %s"
        return [row[0] for row in await rows(accounts, query, self.began)]

    async def _facts_of_accepted(self, accounts: Accounts) -> dict[int, int]:
        """How many accepted events are how many facts each."""
        query = """
            select facts, count(*) from (
                select accepted.id, (select count(*) from fact where fact.event_id = accepted.id) as facts
                from intake.receipt, unnest(event_ids) as accepted (id) where outcome = 'accepted' and received_at >= %s
            ) as counted group by facts
        """
        return dict(await rows(accounts, query, self.began))

    async def _once_each(self, accounts: Accounts) -> None:
        """Each accepted event is one fact; a study that becomes quiet just now is accepted a moment before it is one."""
        deadline = time.monotonic() + SETTLES_S
        while (found := await self._facts_of_accepted(accounts)) != {1: len(await self._accepted(accounts))}:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.5)

    async def _scored(self, accounts: Accounts) -> None:
        """Every study was scored by the model, and where it was not at first, it was again when the model was back."""
        deadline = time.monotonic() + SETTLES_S
        while (standing := await self._standing(accounts)).degraded or standing.model_scored < standing.open:
            assert time.monotonic() < deadline, standing
            await asyncio.sleep(0.5)

    async def _complete(self, accounts: Accounts) -> None:
        """Every open study is on the list, and no other; each image more is no news for it, but that the study is quiet is."""
        deadline = time.monotonic() + SETTLES_S
        while (listed := await self._listed(accounts)) != (expected := self.expected()):
            assert time.monotonic() < deadline, listed.items() ^ expected.items()
            await asyncio.sleep(0.5)

    async def _standing(self, accounts: Accounts) -> Standing:
        return await PostgresAccounting(accounts.database).standing(self.began)

    async def _listed(self, accounts: Accounts) -> dict[str, int]:
        uids = list({m.dicom.StudyInstanceUID for m in self.messages if m.dicom is not None})
        query = "select study_uid, document from worklist_item where not closed and study_uid = any(%s)"
        return {study: codec.decode(WORKLIST, document).study.instances for study, document in await rows(accounts, query, uids)}


async def rows(accounts: Accounts, query: Any, *parameters: object) -> list[tuple[Any, ...]]:
    """Straight from the tables: the tests shall not trust the code that they test."""
    async with accounts.database.connection() as connection:
        return await (await connection.execute(query, parameters)).fetchall()


def caught_up(settings: Settings) -> bool:
    """Nothing waits before any stage."""
    with suppress(Unavailable):
        return not any(each.records for each in topics.lag(settings.kafka, READERS))
    return False


async def degraded_now(settings: Settings, since: datetime) -> int:
    """Studies whose last score is not the model's; 0 too while Postgres does not answer."""
    try:
        async with Accounts(settings, since) as accounts:
            return (await PostgresAccounting(accounts.database).standing(since)).degraded
    except (Unavailable, StackError):
        return 0


@asynccontextmanager
async def narrow(port: int, bytes_a_second: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A slow line to a port of this machine: the line's own port, and an event that is set when a quarter of a second's worth went over."""
    began = asyncio.Event()
    piece = max(bytes_a_second // 50, 1)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
        passed = 0
        try:
            while data := await reader.read(piece):
                writer.write(data)
                await writer.drain()
                passed += len(data)
                if pause and passed > bytes_a_second // 4:
                    began.set()
                await asyncio.sleep(pause)
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back, 0.02), pump(there, writer, 0))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], began
    finally:
        server.close()
