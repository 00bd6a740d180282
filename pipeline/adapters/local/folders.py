"""Where the local stack keeps its state (one data folder) and what it fetched (the user's cache folder)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StackError


def cache_dir() -> Path:
    """The user's cache folder (XDG Base Directory), `readfirst` below it: shared by all data folders."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "readfirst"


@dataclass(frozen=True)
class Folders:
    """The rooms of one data folder."""

    data: Path

    @property
    def run(self) -> Path:
        """Heartbeats, the state file and the lock."""
        return self.data / "run"

    @property
    def log(self) -> Path:
        """One log file per process."""
        return self.data / "log"

    @property
    def state_file(self) -> Path:
        """Addresses, process ids and health of everything, as JSON."""
        return self.run / "stack.json"

    @property
    def targets_file(self) -> Path:
        """Where each role serves its metrics, for Prometheus (file_sd)."""
        return self.run / "prometheus.json"

    @property
    def lock_file(self) -> Path:
        """Held by the running supervisor."""
        return self.run / "stack.lock"

    @property
    def models(self) -> Path:
        """Triton's model repository."""
        return self.data / "triton"

    def heartbeat(self, role: str) -> Path:
        """The file that `role` touches each second."""
        return self.run / f"{role}.ready"

    def make(self) -> None:
        """Make all folders, closed to other users: they hold patient data."""
        try:
            for folder in (self.data, self.run, self.log):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.run / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StackError(
                f"cannot write to the data folder {self.data}: {error.strerror}",
                "choose another folder with --data, or give yourself the right to write there",
            ) from error


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a file lock while others (also other processes) wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
