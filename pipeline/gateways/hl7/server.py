"""The MLLP server: connections, limits, and answers in the order of the messages."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from dataclasses import dataclass, field

import structlog

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.hl7v2.envelope import Site
from pipeline.adapters.hl7v2.reader import Reader
from pipeline.errors import StackError
from pipeline.gateways.hl7.answers import Answerer
from pipeline.gateways.hl7.framing import Frame, Framer, framed
from pipeline.ports import Clock
from pipeline.services.intake import Intake
from pipeline.settings import Gateways, Settings

log = structlog.get_logger()

READ_BYTES = 64 << 10
DISCARD_S = 5.0
"""How long what follows a message that is too large is read and thrown away."""


@dataclass(eq=False, slots=True)
class _Connection:
    task: asyncio.Task[None]
    peer: str
    busy: bool = False


@dataclass(slots=True)
class _Connections:
    open: set[_Connection] = field(default_factory=set)
    per_peer: Counter[str] = field(default_factory=Counter)

    def add(self, connection: _Connection) -> None:
        self.open.add(connection)
        self.per_peer[connection.peer] += 1

    def remove(self, connection: _Connection) -> None:
        self.open.discard(connection)
        self.per_peer[connection.peer] -= 1
        if self.per_peer[connection.peer] <= 0:
            del self.per_peer[connection.peer]


class MllpServer:
    """Messages of one connection are taken one after the other; those of several side by side.

    `counts` is what the intake does not know, for the metrics: connections, unavailable, failed, batches, control-id-reused, restarted,
    noise-bytes, truncated, idle-closed, over-connection-limit, connections-lost, answers-undelivered.
    """

    def __init__(self, settings: Gateways, intake: Intake, site_key: bytes, clock: Clock) -> None:
        self._settings = settings
        self.reader = Reader(Site.of(site_key, settings))
        self.counts: Counter[str] = Counter()
        self._answerer = Answerer(self.reader, intake, clock, self.counts)
        self._connections = _Connections()
        self._server: asyncio.Server | None = None
        self._stopping = False

    @property
    def port(self) -> int:
        """The port that is bound, also where the settings say 0."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections.open)

    async def start(self) -> None:
        """Listens. Raises StackError where the address is taken or a certificate cannot be read."""
        try:
            self._server = await asyncio.start_server(
                self._connected, self._settings.host, self._settings.mllp_port, limit=2 * READ_BYTES, backlog=512, ssl=_tls(self._settings)
            )
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.mllp_port}"
            raise StackError(
                f"the MLLP port {where} cannot be opened: {error.strerror or error}", "set READFIRST_GATEWAYS__MLLP_PORT"
            ) from error
        log.info("mllp_listening", port=self.port)

    async def stop(self, grace_s: float = 10.0) -> None:
        """Takes no new message, finishes and answers those it has, closes. What isn't done after `grace_s` was never acknowledged."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        tasks = [connection.task for connection in self._connections.open]
        for connection in self._connections.open:
            if not connection.busy:
                connection.task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        log.info("mllp_stopped")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = str((writer.get_extra_info("peername") or ("unknown",))[0])
        connection = _Connection(task, peer)
        if self._stopping or self._connections.per_peer[peer] >= self._settings.mllp_connections_per_peer_max:
            self.counts["over-connection-limit"] += 1
            writer.transport.abort()
            return
        self._connections.add(connection)
        self.counts["connections"] += 1
        framer = Framer(self._settings.mllp_message_max_bytes, self.counts)
        try:
            await self._serve(connection, framer, reader, writer)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except (ConnectionError, ssl.SSLError):
            self.counts["connections-lost"] += 1
        finally:
            self._connections.remove(connection)
            self.counts["truncated"] += framer.inside
            await _close(writer)

    async def _serve(self, connection: _Connection, framer: Framer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A frame has to be whole, and the next one begun and whole, within the idle timeout: one byte now and then does not keep a
        connection."""
        loop = asyncio.get_running_loop()
        since, inside = loop.time(), False
        while not self._stopping:
            if framer.inside and not inside:
                since = loop.time()
            inside = framer.inside
            try:
                async with asyncio.timeout_at(since + self._settings.mllp_idle_timeout_s):
                    chunk = await reader.read(READ_BYTES)
            except TimeoutError:
                self.counts["idle-closed"] += 1
                log.info("mllp_idle_closed", inside_a_message=framer.inside)
                return
            if not chunk:
                return
            frames = framer.feed(chunk)
            if frames:
                connection.busy = True
                if not await self._answer(frames, writer):
                    await _discard(reader)
                    return
                connection.busy = False
                since = loop.time()

    async def _answer(self, frames: list[Frame], writer: asyncio.StreamWriter) -> bool:
        """False: the connection is of no further use. A peer that is gone keeps nothing from being stored."""
        alive = True
        for frame in frames:
            answers = await self._answerer.answer(frame)
            alive = alive and await self._send(b"".join(framed(answer) for answer in answers), writer)
        return alive and frames[-1].fault != "too-large"

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        try:
            writer.write(data)
            async with asyncio.timeout(self._settings.mllp_idle_timeout_s):
                await writer.drain()
        except (OSError, TimeoutError):
            self.counts["answers-undelivered"] += 1
            return False
        return True


async def serve(settings: Settings, intake: Intake, site_key: bytes, clock: Clock | None = None) -> MllpServer:
    """A server that listens already."""
    server = MllpServer(settings.gateways, intake, site_key, clock or SystemClock())
    await server.start()
    return server


def _tls(settings: Gateways) -> ssl.SSLContext | None:
    if settings.mllp_tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.mllp_tls_certificate, settings.mllp_tls_key)
    if settings.mllp_tls_client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.mllp_tls_client_ca)
    return context


async def _discard(reader: asyncio.StreamReader) -> None:
    """Closing on unread bytes would reset the connection, and the peer would never see the answer that is under way."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while await reader.read(READ_BYTES):
                pass


async def _close(writer: asyncio.StreamWriter) -> None:
    """Lets what was written go out, but waits for nobody who does not read."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(2):
            await writer.wait_closed()
    if not writer.transport.is_closing():
        writer.transport.abort()
