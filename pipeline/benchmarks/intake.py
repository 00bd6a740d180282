"""How many messages and objects a second the gateways take, beside servers that only answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from pipeline.adapters.dicom.client import StorageClient
from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.client import MllpClient
from pipeline.adapters.local.state import status
from pipeline.adapters.local.supervisor import Progress
from pipeline.benchmarks import patients, servers
from pipeline.benchmarks.context import RIVALS, ROOT
from pipeline.errors import StackError
from pipeline.simulation.messages import Hl7, Outgoing

CONNECTIONS = 16
ASSOCIATIONS = 4
PATIENTS = 50


@dataclass(frozen=True, slots=True)
class Taken:
    """How fast a server took `count`; cpu_s: its own processor time."""

    count: int
    seconds: float
    cpu_s: float

    def told(self) -> dict[str, float]:
        """Numbers a second, by the clock and by the processor."""
        return {"per_s": round(self.count / self.seconds, 1), "per_cpu_s": round(self.count / max(self.cpu_s, 1e-3), 1)}


def measure(messages: int, objects: int, progress: Progress) -> dict[str, Any]:
    """Both gateways without the agents behind them, and both rivals, in one run. Raises StackError."""
    if not RIVALS.is_dir():
        raise StackError("the reference servers are not here", "run `readfirst bench intake` in a checkout of the repository")
    people = patients.patients(PATIENTS, f"{int(time.time()) % 100_000:05d}")
    with (
        servers.folder() as data,
        servers.stack(data, progress, roles=("gateway-hl7", "gateway-dicom"), servers=("postgres", "kafka")) as settings,
    ):
        pids = {part.name: part.identity.pid for part in status(data).parts if part.identity}
        gateways, result = settings.gateways, {}
        with _rival("echo_mllp") as (port, pid):
            result["mllp_echo"] = asyncio.run(_mllp(port, pid, _vitals(people, messages, "ECHO")))
        result["mllp"] = asyncio.run(_mllp(gateways.mllp_port, pids["gateway-hl7"], _vitals(people, messages, "BENCH")))
        progress("mllp", f"{result['mllp'].told()['per_s']} messages/s; echo {result['mllp_echo'].told()['per_s']}")
        pictures = [patients.picture(people[n % PATIENTS], n // PATIENTS + 1) for n in range(objects)]
        with _rival("echo_scp") as (port, pid):
            result["c_store_echo"] = _store(port, pid, "ECHO", pictures)
        result["c_store"] = _store(gateways.dicom_port, pids["gateway-dicom"], gateways.ae_title, pictures)
        progress("c_store", f"{result['c_store'].told()['per_s']} objects/s; echo {result['c_store_echo'].told()['per_s']}")
    told: dict[str, Any] = {name: taken.told() for name, taken in result.items()}
    return {**told, "messages": messages, "objects": objects, "connections": CONNECTIONS, "associations": ASSOCIATIONS}


def _vitals(people: Sequence[patients.Patient], count: int, application: str) -> list[bytes]:
    sender = Hl7(f"{application}{int(time.time())}")
    return [patients.vitals(sender, people[n % PATIENTS], n // PATIENTS).hl7 or b"" for n in range(count)]


async def _mllp(port: int, pid: int, messages: Sequence[bytes]) -> Taken:
    warm, rest = messages[: 2 * CONNECTIONS], iter(messages[2 * CONNECTIONS :])
    clients = [MllpClient("127.0.0.1", port) for _ in range(CONNECTIONS)]
    for n, message in enumerate(warm):
        await _sent(clients[n % CONNECTIONS], message)

    async def line(client: MllpClient) -> None:
        for message in rest:
            await _sent(client, message)

    began, processor = time.perf_counter(), _cpu_s(pid)
    await asyncio.gather(*(line(client) for client in clients))
    taken = Taken(len(messages) - len(warm), time.perf_counter() - began, _cpu_s(pid) - processor)
    await asyncio.gather(*(client.close() for client in clients))
    return taken


async def _sent(client: MllpClient, message: bytes) -> None:
    answers = acknowledgement.read(await client.send(message))
    if not answers or answers[0].code not in ("AA", "CA"):
        raise StackError(f"a vital sign was not accepted: {answers}")


def _store(port: int, pid: int, called: str, objects: Sequence[Outgoing]) -> Taken:
    rest = iter(objects[ASSOCIATIONS:])
    clients = [StorageClient("127.0.0.1", port, called) for _ in range(ASSOCIATIONS)]
    for client, picture in zip(clients, objects, strict=False):
        _stored(client, picture)

    def line(client: StorageClient) -> None:
        while (picture := next(rest, None)) is not None:
            _stored(client, picture)

    began, processor = time.perf_counter(), _cpu_s(pid)
    with ThreadPoolExecutor(ASSOCIATIONS) as lines:
        for done in [lines.submit(line, client) for client in clients]:
            done.result()
    taken = Taken(len(objects) - ASSOCIATIONS, time.perf_counter() - began, _cpu_s(pid) - processor)
    for client in clients:
        client.close()
    return taken


def _stored(client: StorageClient, picture: Outgoing) -> None:
    assert picture.dicom is not None
    sent = client.send_file(picture.dicom)
    if sent.outcome != "accepted":
        raise StackError(f"an object was not accepted: status {sent.status:#06x} {sent.comment or ''}")


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def _rival(name: str) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.perf.{name}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise StackError(f"the reference server {name} did not start", "run `uv sync` in a checkout of the repository")
        yield int(line), process.pid
    finally:
        process.terminate()
        process.wait(10)
