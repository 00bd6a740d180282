"""One child process: started with its own session and log, known by pid and start time, ended with everything it started."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.adapters.local.account import Account
from pipeline.errors import StackError

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LOGS_KEPT = 3
_LOG_LIMIT = 50 << 20


@dataclass(frozen=True)
class Launch:
    """What to run and how to end it."""

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None
    inherit: tuple[int, ...] = ()


@dataclass(frozen=True)
class Identity:
    """A process on this machine; the start time tells it from a later one with the same pid."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


Fork = Callable[[Launch], int | None]
"""Starts a process in a quicker way than by exec and returns its pid; None where it has no such way."""


def no_fork(launch: Launch) -> int | None:
    """There is no quicker way."""
    return None


class Child:
    """A running child process. Spawn it from a thread that lives as long as the child may: Linux ends it with that thread."""

    def __init__(self, launch: Launch, fork: Fork = no_fork) -> None:
        """`fork` may have a quicker way (fork_server.py); where it has none, the process is started in the usual one."""
        self.launch = launch
        pid = fork(launch)
        self._process = _popen(launch) if pid is None else _Forked(pid)
        self.identity = Identity.of(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id, which is its process group as well."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; as subprocess has it, -N if signal N ended it."""
        return self._process.poll()

    def signal(self, signal_: signal.Signals) -> None:
        """Send a signal to the process itself; nothing happens if it is gone."""
        self._process.send_signal(signal_)

    def wait(self, timeout_s: float) -> bool:
        """True if it ended within the time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask it to end, then make it end, and its group with it."""
        if self.exit_code() is None:
            self.signal(self.launch.stop_signal)
            self.wait(timeout_s)
        self.sweep()
        self._process.wait()

    def sweep(self) -> None:
        """Kill what is left of its process group."""
        end_group(self.pid)


class _Forked:
    """A child that subprocess did not start, with the part of Popen that is needed of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if found else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.01)
        return code

    def send_signal(self, signal_: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal_)


def _popen(launch: Launch) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def before_exec() -> None:
        if launch.account is not None:
            launch.account.become()
        if sys.platform == "linux":  # a change of user clears it, so it comes after
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(launch.orphan_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    with launch.log.open("ab") as log:
        try:
            return subprocess.Popen(
                list(launch.argv),
                env=dict(launch.env) or None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=launch.inherit,
                preexec_fn=before_exec,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"cannot start {launch.argv[0]}: {error}", "run `readfirst doctor`") from error


def end_group(group: int) -> None:
    """Kill every process of a group; nothing happens if there is none."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def bury_group(group: int) -> None:
    """Let go of the dead of a group whose leader has ended; a process that started a fork server inherits them (fork_server.py)."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def end(identity: Identity, timeout_s: float = 10.0, first: signal.Signals = signal.SIGTERM) -> bool:
    """End a process that is not our child, and its children. True if it was running."""
    process = identity.process()
    if process is None:
        return False
    family = [process, *process.children(recursive=True)]
    process.send_signal(first)
    _, alive = psutil.wait_procs(family, timeout_s)
    for left in alive:
        left.kill()
    psutil.wait_procs(alive, 5.0)
    return True


def rotate(log: Path) -> None:
    """Put the last run's log aside (`.1` is the youngest) and keep three."""
    if not log.exists() or log.stat().st_size == 0:
        return
    for number in range(_LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    log.replace(log.with_name(f"{log.name}.1"))


def shorten(log: Path, limit: int = _LOG_LIMIT) -> None:
    """Put a log that has grown too large aside while it is written to: its writers append, so they go on at its new beginning."""
    if not log.exists() or log.stat().st_size <= limit:
        return
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 16384))
            return "\n".join(handle.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def wait_until_ready(child: Child, ready: Callable[[], bool], name: str, timeout_s: float) -> None:
    """Poll `ready()` until it is true; StackError with the log's end if the process ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if child.exit_code() is not None:
            raise StackError(f"{name} ended at once (exit code {child.exit_code()}):\n{tail(child.launch.log)}", "run `readfirst doctor`")
        if ready():
            return
        time.sleep(0.05)
    raise StackError(f"{name} was not ready after {timeout_s:.0f} s:\n{tail(child.launch.log)}", f"read {child.launch.log}")
