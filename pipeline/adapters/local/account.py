"""The unprivileged account that Postgres runs under when we are root, which it refuses to be.

The data folder and the virtual environment are often in a home folder that other accounts cannot enter. Instead of opening
somebody's home to all, the process keeps one capability: to pass file permissions (ambient capabilities, capabilities(7)).
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Account:
    """A user and a group of this machine."""

    uid: int
    gid: int

    def own(self, folder: Path) -> None:
        """Give this account the folder and all in it."""
        os.chown(folder, self.uid, self.gid)
        for path in folder.rglob("*"):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def become(self) -> None:
        """Turn the calling process into this account; only between fork and exec."""
        _LIBC.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        _keep_file_access()


def _keep_file_access() -> None:
    """Keep CAP_DAC_OVERRIDE over exec. Where the machine forbids it, go on: the folders may be open enough."""
    bit = 1 << _CAP_DAC_OVERRIDE
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("IIIIII", bit, bit, bit, 0, 0, 0)
    if _LIBC.capset(header, data) == 0:
        _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def unprivileged() -> Account | None:
    """`nobody` when we are root, else None: stay who we are."""
    if os.geteuid() != 0:
        return None
    import pwd

    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)
