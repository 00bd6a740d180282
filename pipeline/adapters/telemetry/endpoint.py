"""A role's own small HTTP server: `/metrics`, `/livez`, `/readyz`, answered by a thread, so that a stuck event loop can be told from a dead
process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from time import monotonic

import structlog
from prometheus_client.exposition import choose_encoder

from pipeline.adapters.local.heartbeat import STALE_AFTER_S, Heartbeat
from pipeline.adapters.telemetry.metrics import METRICS, Metrics, Sample
from pipeline.errors import ReadfirstError
from pipeline.settings import Telemetry

log = structlog.get_logger()
Check = Callable[[], Awaitable[object]]
"""Raises one of our errors when what the role needs does not answer."""
CHECK_S = 2.0
"""For all checks together: below what a probe waits for."""
CHECKED_FOR_S = 1.0
"""How long an answer holds: whoever asks, and however often, what the role needs is asked once a second at most."""
REQUEST_S = 5.0


class Endpoint:
    """Serves nothing where the settings name no port; histograms are not kept then, for nobody could read them.

    `/livez`: the event loop turns (before the role is ready: the process is there).
    `/readyz`: the role takes work, and what it needs answers.
    """

    def __init__(self, role: str, telemetry: Telemetry, metrics: Metrics = METRICS) -> None:
        self._metrics = metrics
        metrics.enabled = telemetry.port is not None
        self._heartbeat: Heartbeat | None = None
        self._checks: tuple[Check, ...] = ()
        self._checking = threading.Lock()
        self._checked: tuple[float, str | None] = (float("-inf"), None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ThreadingHTTPServer | None = None
        metrics.source(lambda: [Sample("readfirst_build_info", 1, {"role": role, "version": version("readfirst")})])
        if telemetry.port is not None:
            self._server = ThreadingHTTPServer((telemetry.host, telemetry.port), self._handler())
            self._server.daemon_threads = True
            threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True).start()
            log.info("telemetry_served", role=role, port=self.port)

    @property
    def port(self) -> int | None:
        """Where it listens."""
        return self._server.server_address[1] if self._server else None

    def ready(self, heartbeat: Heartbeat, loop: asyncio.AbstractEventLoop, *checks: Check) -> None:
        """From now on the role takes work; `checks` are run in its loop, together, when somebody asks."""
        self._heartbeat, self._loop, self._checks = heartbeat, loop, checks

    def close(self) -> None:
        """Frees the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _live(self) -> str | None:
        """What is wrong, or None."""
        if self._heartbeat is None or self._heartbeat.last is None:
            return None
        silent = monotonic() - self._heartbeat.last
        return f"the event loop has not turned for {silent:.0f} s" if silent > STALE_AFTER_S else None

    def _ready(self) -> str | None:
        """What is wrong, or None."""
        if self._heartbeat is None or self._heartbeat.last is None or self._loop is None:
            return "not ready for work"
        if (wrong := self._live()) is not None:
            return wrong
        with self._checking:
            at, wrong = self._checked
            if monotonic() - at >= CHECKED_FOR_S:
                wrong = self._asked(self._loop)
                self._checked = monotonic(), wrong
            return wrong

    def _asked(self, loop: asyncio.AbstractEventLoop) -> str | None:
        async def ask() -> None:
            async with asyncio.timeout(CHECK_S):
                await asyncio.gather(*(check() for check in self._checks))

        future = asyncio.run_coroutine_threadsafe(ask(), loop)
        try:
            future.result(CHECK_S + 1)
        except ReadfirstError as error:
            return str(error)
        except (TimeoutError, FutureTimeoutError):
            future.cancel()
            return "what the role needs did not answer in time"
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_S

            def do_GET(self) -> None:
                """Three addresses."""
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    encode, content_type = choose_encoder(self.headers.get("accept", ""))
                    self._answer(200, encode(endpoint._metrics.registry), content_type)
                elif path in ("/livez", "/readyz"):
                    wrong = endpoint._live() if path == "/livez" else endpoint._ready()
                    self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(404, b"/metrics, /livez and /readyz are here\n", "text/plain; charset=utf-8")

            def log_message(self, format: str, *args: object) -> None:
                """A probe every few seconds is not worth a line."""

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
