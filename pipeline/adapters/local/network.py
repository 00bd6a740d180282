"""Free ports on this machine, and whether something answers on one."""

from __future__ import annotations

import secrets
import socket

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


def free_port(preferred: int | None = None, host: str = "127.0.0.1", avoid: frozenset[int] = frozenset()) -> int:
    """`preferred` if it is free, else some other free port that is not in `avoid`."""
    if preferred is not None and preferred not in avoid and is_free(preferred, host):
        return preferred
    for _ in range(200):
        port = secrets.choice(_SPARE_PORTS)
        if port not in avoid and is_free(port, host):
            return port
    raise StackError("found no free port between 20000 and 31999", "end some of the programs that listen there")


def answers(port: int, host: str = "127.0.0.1", timeout_s: float = 0.3) -> bool:
    """True if something accepts TCP connections on `port`."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True
