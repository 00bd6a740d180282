"""Starts the stack's Python processes as forks of one that has imported their modules: what each would import by itself is done once.

On two cores the imports of eleven processes were more than half of the stack's start. A process that comes from here is the supervisor's
own child, as if it had started it: the server forks twice and ends the one between, and the kernel hands the orphan to its nearest
subreaper (prctl(2), PR_SET_CHILD_SUBREAPER). So the server may die unnoticed: until it is back, processes start the long way.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import setproctitle

from pipeline.adapters.local.process import Launch

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 1, 36, 37
_LIBC = ctypes.CDLL(None, use_errno=True)
_READY = b"ready"
_MESSAGE_MAX = 1 << 20
_ANSWER_LIMIT_S, _ADOPTION_LIMIT_S = 5.0, 2.0


class ForkServer:
    """The supervisor's end. Linux only."""

    def __init__(self, modules: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self._modules, self._log, self._env = modules, log, env
        self._channel: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._is_ready = False
        self._was_subreaper = _is_subreaper()

    def launch(self) -> Launch:
        """How to run the server; each run has a channel of its own."""
        self._hang_up()
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._channel, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_ANSWER_LIMIT_S)
        descriptor = self._theirs.fileno()
        return Launch([sys.executable, "-m", __name__, str(descriptor), *self._modules], self._log, self._env, inherit=(descriptor,))

    def close(self) -> None:
        """The server ends, and this process adopts no more than it did before."""
        self._hang_up()
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, int(self._was_subreaper), 0, 0, 0)

    def _hang_up(self) -> None:
        for end in (self._channel, self._theirs):
            if end is not None:
                end.close()
        self._channel = self._theirs = None
        self._is_ready = False

    def ready(self) -> bool:
        """True once the modules are imported."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
        if self._channel is not None and not self._is_ready:
            try:
                self._is_ready = self._channel.recv(_MESSAGE_MAX, socket.MSG_DONTWAIT) == _READY
            except OSError:
                return False
        return self._is_ready

    def fork(self, launch: Launch) -> int | None:
        """Run `python -m MODULE ...` as a fork, in a session of its own, and return its pid; None: it must be started another way."""
        if self._channel is None or not self._is_ready or list(launch.argv[:2]) != [sys.executable, "-m"]:
            return None
        request = {
            "argv": launch.argv[2:],
            "log": str(launch.log),
            "env": dict(launch.env),
            "orphan_signal": int(launch.orphan_signal),
            "parent": os.getpid(),
        }
        try:
            self._channel.send(json.dumps(request).encode())
            return int(self._channel.recv(_MESSAGE_MAX))
        except (OSError, ValueError):  # it has died, or nothing came of it
            self._is_ready = False
            return None


def _is_subreaper() -> bool:
    flag = ctypes.c_int()
    _LIBC.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0)
    return bool(flag.value)


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """Forks until the supervisor is gone. Returns twice: in each fork, what it shall become; in the server, None."""
    while message := channel.recv(_MESSAGE_MAX):
        between = os.fork()
        if between == 0:
            if os.fork() != 0:
                os._exit(0)
            return dict(json.loads(message))
        os.waitpid(between, 0)
    return None


def _adopted(parent: int) -> bool:
    """Waits until the supervisor is the parent."""
    deadline = time.monotonic() + _ADOPTION_LIMIT_S
    while os.getppid() != parent and time.monotonic() < deadline:
        time.sleep(0.001)
    return os.getppid() == parent


def _become(request: dict[str, Any], channel: socket.socket) -> None:
    """What exec would have done: session, log, environment, arguments; and then the module, as `python -m` runs it."""
    os.setsid()
    if not _adopted(request["parent"]):
        os._exit(1)
    _LIBC.prctl(_PR_SET_PDEATHSIG, request["orphan_signal"], 0, 0, 0)
    if os.getppid() != request["parent"]:
        os._exit(1)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    module, *arguments = request["argv"]
    setproctitle.setproctitle(" ".join([sys.executable, "-m", module, *arguments]))  # it looks for its room beside the old environment
    setproctitle.setthreadtitle(arguments[-1] if arguments else module)
    os.environ.clear()
    os.environ.update(request["env"])
    channel.send(str(os.getpid()).encode())
    channel.close()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """The server's life, and in each fork the module's."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()  # modules make nothing but what stays: looking for garbage meanwhile took an eighth of the time
    for module in sys.argv[2:]:
        import_module(module)
    gc.enable()
    gc.collect()
    gc.freeze()  # what is imported is shared with the forks as long as no collector writes into it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    channel.send(_READY)
    request = _serve(channel)
    if request is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(request, channel)


if __name__ == "__main__":
    main()
