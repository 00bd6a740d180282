"""A role's sign of life: a file that it touches each second, read by the supervisor and by container health checks."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

VARIABLE = "READFIRST_HEARTBEAT"
STALE_AFTER_S = 10.0
_INTERVAL_S = 1.0
log = structlog.get_logger()


class Heartbeat:
    """Beats while the event loop it runs in is alive; writes nothing where READFIRST_HEARTBEAT names no file.

    `start()` it (or await `beat()`) only when the role is ready to work: its first beat is what others wait for.
    """

    def __init__(self, role: str, address: str | None = None, path: Path | None = None) -> None:
        named = os.environ.get(VARIABLE)
        self._path = path or (Path(named) if named else None)
        self._content = {"pid": os.getpid(), "role": role} | ({"address": address} if address else {})
        self._task: asyncio.Task[None] | None = None
        self.last: float | None = None
        """When it last beat, on the monotonic clock; None before the first beat and after the last."""

    def start(self) -> None:
        """Begin to beat in the running event loop; a second call changes nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self.beat(), name="heartbeat")

    def stop(self) -> None:
        """Stop beating: the role no longer takes work."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def beat(self) -> None:
        """Beat until cancelled, then take the file away."""
        try:
            while True:
                self.once()
                await asyncio.sleep(_INTERVAL_S)
        finally:
            self.last = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def once(self) -> None:
        """One beat. A full disk is logged and does not end the role."""
        self.last = time.monotonic()
        if self._path is None:
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            fresh.write_text(json.dumps(self._content))
            fresh.replace(self._path)
        except OSError as error:
            log.warning("heartbeat_not_written", error=error.strerror)


@dataclass(frozen=True)
class Beat:
    """What a heartbeat file says."""

    pid: int
    role: str
    address: str | None
    at: float

    @property
    def age_s(self) -> float:
        """Seconds since the beat."""
        return time.time() - self.at


def read(path: Path) -> Beat | None:
    """The last beat, or None if there is none (yet)."""
    try:
        at = path.stat().st_mtime
        content = json.loads(path.read_text())
        return Beat(int(content["pid"]), str(content["role"]), content.get("address"), at)
    except (OSError, ValueError, KeyError, TypeError):
        return None
