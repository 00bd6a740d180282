"""The web application under a real uvicorn in a thread, over a Department, with a clock and faults that a test commands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.adapters.memory.feedback import MemoryFeedback
from pipeline.adapters.onnx.versions import ModelVersions, in_process
from pipeline.services.alert_desk import AlertDesk
from pipeline.services.attribution import RiskAttribution
from pipeline.worklist.alerts import AlertsApi
from pipeline.worklist.app import create_app
from pipeline.worklist.operations import OperationsApi
from tests.e2e.department import Department

Result = TypeVar("Result")
NOON = datetime(2026, 3, 3, 10, 30, tzinfo=UTC)


class SteeredClock:
    """Starts at a given moment and goes on; a test can push it."""

    def __init__(self, start: datetime = NOON) -> None:
        self._shift = start - datetime.now(UTC)

    def now(self) -> datetime:
        """UTC."""
        return datetime.now(UTC) + self._shift

    def push(self, by: timedelta) -> None:
        """Time goes by at once."""
        self._shift += by


class Faults:
    """ASGI middleware that answers in the application's place: 503 to everything (`down`) or to all but the page (`data_down`).

    stream: "blocked" answers the stream with 403, "silent" never answers it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.stream: str | None = None
        self.down = False
        self.data_down = False
        self.slow: dict[str, float] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers in the application's place where a fault is ordered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        query = scope["query_string"].decode()
        self.seen.append((f"{path}?{query}" if query else path, {k.decode(): v.decode("latin-1") for k, v in scope["headers"]}))
        await asyncio.sleep(next((wait for part, wait in self.slow.items() if part in path), 0))
        if (self.down and not path.startswith("/static")) or (self.data_down and path.startswith(("/api/worklist", "/api/summary"))):
            await _refuse(send, 503)
        elif path == "/api/events" and self.stream == "blocked":
            await _refuse(send, 403)
        elif path == "/api/events" and self.stream == "silent":
            await asyncio.sleep(3600)
        else:
            await self.app(scope, receive, send)


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"refused by the test"})


class LiveServer:
    """A running page. `happen(f)` runs f in the server's own loop, so that the twins wake their listeners."""

    def __init__(self, department: Department, operations: OperationsApi | None = None, attribution: RiskAttribution | None = None) -> None:
        self.department = department
        self.loop: asyncio.AbstractEventLoop | None = None
        alerts = department.worklist.alerts
        room = AlertsApi(alerts, AlertDesk(alerts, alerts, department.worklist, department.clock), department.clock)
        shipped = ModelVersions(Path("no models of a site"), "clinical_risk")
        app = create_app(
            department.worklist,
            department.worklist,
            department.vault,
            department.clock,
            time_zone="Europe/Berlin",
            operations=operations,
            alerts=room,
            feedback=MemoryFeedback(),
            attribution=attribution or RiskAttribution(department.worklist, in_process(shipped.folder_of, department.clock)),
        )
        self.faults = Faults(app)
        config = uvicorn.Config(self.faults, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1, lifespan="on")
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """http://127.0.0.1:port"""
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def happen(self, event: Callable[[], Result]) -> Result:
        """Runs `event` where the server lives, and waits for it."""

        async def run() -> Result:
            return event()

        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def ask(self, coroutine: Any) -> Any:
        """Runs a coroutine where the server lives."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    @contextmanager
    def running(self) -> Iterator[LiveServer]:
        """Starts, yields, stops."""
        self._thread.start()
        if not self._started.wait(15):
            raise RuntimeError("uvicorn did not start")
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends it, streams and all."""
        self._server.should_exit = True
        self._thread.join(15)

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started and not serving.done():  # noqa: ASYNC110 (uvicorn offers a flag only)
                await asyncio.sleep(0.01)
            self._started.set()
            await serving

        asyncio.run(serve())
