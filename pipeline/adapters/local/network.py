"""Free ports on this machine, and whether something answers on one."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.adapters.local.folders import cache_dir
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


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens. Whoever starts a server there says so by `reserved` instead."""
    return next(port for port in candidates() if is_free(port, host))


@contextmanager
def reserved(count: int) -> Iterator[list[int]]:
    """So many free ports of loopback for the time of the block: no stack of this user, and nobody else who asks here, is given them."""
    ours = Reservations()
    try:
        yield [ours.another() for _ in range(count)]
    finally:
        ours.release()


def candidates() -> Iterator[int]:
    """Ports to try, in random order. Raises StackError when enough were tried."""
    for _ in range(200):
        yield secrets.choice(_SPARE_PORTS)
    raise StackError("found no free port between 20000 and 31999", "end some of the programs that listen there")


class Reservations:
    """Ports promised to this process: its servers listen on them some seconds later, and others of this user keep away from the first
    moment on. A promise is a lock on a file, which ends with the process that holds it, however that ends."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: another one than all of this user share."""
        self._folder = folder or cache_dir() / "ports"
        self._held: dict[int, IO[str]] = {}

    def take(self, port: int, host: str = "127.0.0.1") -> bool:
        """True if the port is free and now ours."""
        if port in self._held:
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / str(port)
        while True:
            lock = path.open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            if _is_at(path, lock):
                break
            lock.close()  # who held it gave it back just now, and took its file away: another may lock a new one there
        if not is_free(port, host):
            lock.close()
            return False
        self._held[port] = lock
        return True

    def another(self, host: str = "127.0.0.1") -> int:
        """Some free port, now ours."""
        return next(port for port in candidates() if self.take(port, host))

    def release(self) -> None:
        """Give all back."""
        while self._held:
            port, lock = self._held.popitem()
            (self._folder / str(port)).unlink(missing_ok=True)
            lock.close()


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def answers(port: int, host: str = "127.0.0.1", timeout_s: float = 0.3) -> bool:
    """True if something accepts TCP connections on `port`."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True
