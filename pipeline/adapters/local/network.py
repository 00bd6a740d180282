"""Free ports on this machine, and whether something answers on one."""

from __future__ import annotations

import fcntl
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipeline.errors import StackError

# Below the kernel's ephemeral range (32768 and up on Linux), so that no outgoing connection takes the port before we bind it.
_SPARE_PORTS = range(20000, 32000)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True if a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = "127.0.0.1", avoid: frozenset[int] = frozenset()) -> int:
    """Some free port, for servers that start at once."""
    return next(port for port in candidates() if port not in avoid and is_free(port, host))


def candidates() -> Iterator[int]:
    """Ports to try, in random order. Raises StackError when enough were tried."""
    for _ in range(200):
        yield secrets.choice(_SPARE_PORTS)
    raise StackError("found no free port between 20000 and 31999", "end some of the programs that listen there")


class Reservations:
    """Ports promised to this stack: its parts listen on them some seconds later, and other stacks of this user keep away till then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, IO[str]] = {}

    def take(self, port: int, host: str) -> bool:
        """True if the port is free and now ours."""
        if port in self._held or not is_free(port, host):
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = (self._folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._held[port] = lock
        return True

    def release(self) -> None:
        """Give all back."""
        while self._held:
            port, lock = self._held.popitem()
            (self._folder / str(port)).unlink(missing_ok=True)
            lock.close()


def answers(port: int, host: str = "127.0.0.1", timeout_s: float = 0.3) -> bool:
    """True if something accepts TCP connections on `port`."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True
