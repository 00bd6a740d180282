"""What the supervisor writes down about the running stack, and what anybody may read from it: `run/stack.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.adapters.local.folders import Folders
from pipeline.adapters.local.process import Identity


class State(StrEnum):
    """Where a part stands."""

    WAITING = "waiting"  # for what it needs
    PREPARING = "preparing"  # fetching, formatting
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  # runs, but does not answer
    RESTARTING = "restarting"  # ended, comes again after a pause
    DONE = "done"  # a step that has run
    ABSENT = "absent"  # cannot run here; the stack goes on without it
    STOPPED = "stopped"


GOOD = frozenset({State.HEALTHY, State.DONE})


@dataclass
class PartState:
    """One part of the stack, as last seen."""

    name: str
    kind: str
    state: State = State.WAITING
    since: float = field(default_factory=time.time)
    identity: Identity | None = None
    address: str | None = None
    restarts: int = 0
    detail: str = ""
    log: str = ""

    def enter(self, state: State, detail: str = "") -> None:
        """Change state, now."""
        self.state, self.detail, self.since = state, detail, time.time()


@dataclass
class StackState:
    """The whole stack, as last seen. settings: what it was started with that is no secret."""

    supervisor: Identity | None = None
    external: bool = False
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    parts: list[PartState] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """True while its supervisor lives."""
        return self.supervisor is not None and self.supervisor.process() is not None

    @property
    def healthy(self) -> bool:
        """True if all is well; a part that cannot run on this machine does not count."""
        return self.running and all(part.state in GOOD or part.state is State.ABSENT for part in self.parts)


def write(folders: Folders, state: StackState) -> None:
    """Replace the file in one move."""
    fresh = folders.state_file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state), indent=1))
    fresh.replace(folders.state_file)


def read(data: Path) -> StackState:
    """The state as written; an empty one if there is none, or if it cannot be read."""
    try:
        raw = json.loads(Folders(data).state_file.read_text())
        parts = [_part(part) for part in raw["parts"]]
        return StackState(_identity(raw["supervisor"]), raw["external"], raw["ports"], parts, raw.get("settings", {}))
    except (OSError, ValueError, KeyError, TypeError):
        return StackState()


def status(data: Path) -> StackState:
    """The state as it is now: what the file says, less what has died since."""
    state = read(data)
    for part in state.parts:
        gone = part.identity is not None and part.identity.process() is None
        if not state.running or (gone and part.state is not State.RESTARTING):
            part.enter(State.STOPPED)
    return state


def _identity(raw: Mapping[str, Any] | None) -> Identity | None:
    return Identity(raw["pid"], raw["started"]) if raw else None


def _part(raw: Mapping[str, Any]) -> PartState:
    return PartState(**{**raw, "state": State(raw["state"]), "identity": _identity(raw["identity"])})
