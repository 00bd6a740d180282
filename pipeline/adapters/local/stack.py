"""The local stack of one data folder: its servers, steps and roles, where each listens, and how to start, stop and look at it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import psutil
from pydantic import SecretStr

from pipeline.adapters.local import ports, state
from pipeline.adapters.local.folders import Folders
from pipeline.adapters.local.network import Reservations
from pipeline.adapters.local.process import Identity, end
from pipeline.adapters.local.state import PartState, StackState, status
from pipeline.adapters.local.supervisor import Progress, Supervisor
from pipeline.adapters.local.table import PRELOAD, ROLES, SERVERS, STEPS, RoleCommand, Table
from pipeline.adapters.local.triton import ModelBuilder
from pipeline.errors import StackError
from pipeline.settings import Settings

__all__ = ["ROLES", "Stack", "already_runs", "down", "settings_of", "status"]

_STOP_LIMIT_S = 40.0


def run_role(role: str) -> Sequence[str]:
    """The command that runs a role or step. An agent's is what `run` would turn into, a second sooner."""
    if role.startswith("agent-"):
        return [sys.executable, "-m", "agents", role]
    return [sys.executable, "-m", "pipeline.cli", "run", role]


class Stack:
    """Start it, wait, stop it. The processes end with this one, however it ends (on Linux)."""

    def __init__(
        self,
        data: Path,
        roles: Sequence[str] = ROLES,
        *,
        servers: Sequence[str] = SERVERS,
        steps: Sequence[str] = STEPS,
        settings: Settings | None = None,
        role_command: RoleCommand = run_role,
        build_models: ModelBuilder | None = None,
        preload: Sequence[str] = PRELOAD,
    ) -> None:
        """`servers=()`: Kafka, Postgres and Triton are those of `settings`. `preload`: modules that many roles import."""
        self._folders = Folders(data.absolute())
        self._roles, self._servers, self._steps = tuple(roles), tuple(servers), tuple(steps)
        self._settings = settings or Settings()
        self._role_command, self._build_models, self._preload = role_command, build_models, preload
        self._state = StackState(external=not servers, settings=self._settings.told())
        self._lock: IO[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked = asyncio.Event()
        self._started: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._reservations = Reservations()
        self._table: Table | None = None

    def start(self, progress: Progress) -> None:
        """Returns when all is healthy; `progress(part, what)` is called from other threads. Raises StackError, having stopped all."""
        self._folders.make()
        _end_on_sigterm()
        self._take_lock()
        try:
            old = state.read(self._folders.data)
            end_leftovers(old, progress)
            settings = self._local_settings(old)
        except BaseException:
            self._free_lock()
            raise
        self._table = Table(
            self._folders, settings, self._state.ports, self._servers, self._steps, self._roles, self._role_command, self._preload
        )
        parts = self._table.parts(self._build_models)
        self._folders.targets_file.write_text(json.dumps(ports.targets(self._state.ports, self._roles), indent=1))
        self._state.supervisor = Identity.of(os.getpid())
        supervisor = Supervisor(parts, progress, self._changed, self._table.fork)
        self._thread = threading.Thread(target=self._run, args=(supervisor,), name="supervisor", daemon=True)
        self._thread.start()
        self._started.result()

    def wait(self) -> None:
        """Blocks until the stack is stopped; raises what made it stop by itself."""
        self._ended.result()

    def stop(self) -> None:
        """End everything, in order; nothing happens if nothing runs."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop_asked.set)
            self._thread.join(_STOP_LIMIT_S)

    def addresses(self) -> Settings:
        """The settings that reach this stack; after `start`."""
        if self._table is None:
            raise StackError("the stack has not been started", "start it first")
        return self._table.settings()

    def _run(self, supervisor: Supervisor) -> None:
        """The supervisor's thread."""
        error: BaseException | None = None
        try:
            asyncio.run(self._supervise(supervisor))
        except BaseException as raised:
            error = raised
        finally:
            self._free_lock()
        for future in (self._started, self._ended):
            if not future.done():
                future.set_exception(error) if error else future.set_result(None)

    async def _supervise(self, supervisor: Supervisor) -> None:
        self._loop = asyncio.get_running_loop()
        # asyncio would import its pool when first used: while a thread forks, its lock's fork hooks would then run by half (seen once).
        self._loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="health"))
        stop = asyncio.create_task(self._stop_asked.wait())
        life = asyncio.create_task(self._live(supervisor))
        try:
            done, _ = await asyncio.wait({stop, life}, return_when=asyncio.FIRST_COMPLETED)
            if life in done:
                life.result()
        finally:
            life.cancel()
            await supervisor.stop()
            if self._table is not None:
                self._table.close()
            self._state.supervisor = None
            state.write(self._folders, self._state)

    async def _live(self, supervisor: Supervisor) -> None:
        await supervisor.start()
        self._started.set_result(None)
        await supervisor.watch()

    def _changed(self, parts: list[PartState]) -> None:
        self._state.parts = parts
        state.write(self._folders, self._state)

    def _local_settings(self, old: StackState) -> Settings:
        """The settings with this folder, its key, and the ports that are free."""
        settings = self._settings.model_copy(update={"data": self._folders.data})
        if settings.site_key is None:
            settings.site_key = SecretStr(_site_key(self._folders.data / "site.key"))
        external = not self._servers
        self._state.ports = ports.choose(
            ports.usual(settings, self._servers, self._roles), old.ports, self._reservations, may_move=not external
        )
        return settings

    def _take_lock(self) -> None:
        self._lock = self._folders.lock_file.open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._free_lock()
            raise already_runs(self._folders.data) from None

    def _free_lock(self) -> None:
        self._reservations.release()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def already_runs(data: Path) -> StackError:
    """What a second start on the same folder is told."""
    return StackError(f"a stack already runs on {data}", "look at it with `readfirst status`, or end it with `readfirst down`")


def _end_on_sigterm() -> None:
    """Make SIGTERM unwind the main thread, so that whoever started a stack stops it in order; a handler set before is left alone."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def end_leftovers(old: StackState, progress: Progress) -> None:
    """End what a killed supervisor left running; a process is known by pid and start time."""
    for part in reversed(old.parts):
        # SIGINT is Postgres's fast shutdown; SIGTERM would make it wait for its clients.
        first = signal.SIGINT if part.name == "postgres" else signal.SIGTERM
        if part.identity is not None and end(part.identity, first=first):
            progress(part.name, "ended a process left from the last run")


def down(data: Path, progress: Progress = lambda part, what: None) -> bool:
    """End the stack of this data folder, whoever started it, and wait until it is gone. False if none ran."""
    running = state.read(data)
    supervisor = running.supervisor.process() if running.supervisor else None
    if supervisor is not None:
        supervisor.terminate()
        psutil.wait_procs([supervisor], _STOP_LIMIT_S)
    left = [part for part in state.read(data).parts if part.identity and part.identity.process()]
    end_leftovers(state.read(data), progress)
    return supervisor is not None or bool(left)


def settings_of(data: Path) -> Settings:
    """The settings that reach the stack that runs (or last ran) on this data folder: those it was started with, whatever this shell's
    are, but for secrets, which only the shell can tell."""
    written = state.read(data)
    settings = Settings(**written.settings).model_copy(update={"data": data.absolute()})
    key_file = settings.data / "site.key"
    if settings.site_key is None and key_file.exists():
        settings.site_key = SecretStr(key_file.read_text().strip())
    servers = () if written.external else SERVERS
    absent = {part.name for part in written.parts if part.state is state.State.ABSENT}
    return ports.apply(settings, written.ports, [name for name in servers if name not in absent])


def _site_key(path: Path) -> str:
    """Made once; only the owner may read it."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_hex(32))
    return path.read_text().strip()
