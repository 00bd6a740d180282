"""Whether this machine can run the local stack: each check says what it found and, where something is wrong, how to mend it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.adapters.local import heartbeat, kafka_jars, ports, triton_environment
from pipeline.adapters.local.folders import Folders
from pipeline.adapters.local.kafka import java
from pipeline.adapters.local.network import is_free
from pipeline.adapters.local.postgres import binaries
from pipeline.adapters.local.state import GOOD, StackState, State, status
from pipeline.adapters.local.table import ROLES, SERVERS
from pipeline.errors import ReadfirstError, StackError
from pipeline.settings import Settings

_DISK_NEEDED, _DISK_WANTED = 1 << 30, 5 << 30


class Verdict(StrEnum):
    """`warning`: it runs, but not as well as it could."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(check: str, look: Callable[[], str], failed: Verdict = Verdict.FAILED) -> Finding:
    """Run one check: what `look` returns is good, what it raises is not."""
    try:
        return Finding(check, Verdict.OK, look())
    except ReadfirstError as error:
        return Finding(check, failed, str(error), getattr(error, "remedy", ""))


def machine(settings: Settings, external: bool) -> Iterator[Finding]:
    """All that can be checked without a running stack."""
    yield examine("python", _python)
    yield examine("data folder", lambda: _writable(settings.data))
    yield _disk(settings.data)
    stack = status(settings.data)
    yield from _ports(settings, stack, () if external else SERVERS)
    if not external:
        yield examine("kafka jars", _jars)
        yield examine("java", lambda: _version([str(java()), "--version"]))
        yield examine("postgres binaries", lambda: _version([str(binaries() / "postgres"), "--version"]))
        yield examine("triton", _triton, failed=Verdict.WARNING)


def processes(stack: StackState) -> Iterator[Finding]:
    """The parts of the stack as they are, with the age of each role's heartbeat."""
    for part in stack.parts:
        verdict = Verdict.OK if part.state in GOOD else Verdict.WARNING if part.state is State.ABSENT else Verdict.FAILED
        words = ", ".join(filter(None, [str(part.state), f"restarted {part.restarts} times" if part.restarts else "", part.detail]))
        yield Finding(f"process {part.name}", verdict, words, "" if verdict is Verdict.OK else f"read {part.log}" if part.log else "")


def heartbeats(data: Path, roles: tuple[str, ...] = ROLES) -> Iterator[Finding]:
    """How long ago each role gave a sign of life."""
    for role in roles:
        beat = heartbeat.read(Folders(data).heartbeat(role))
        if beat is None:
            yield Finding(f"heartbeat {role}", Verdict.FAILED, "none", f"read {Folders(data).log / role}.log")
        elif beat.age_s > heartbeat.STALE_AFTER_S:
            yield Finding(f"heartbeat {role}", Verdict.FAILED, f"{beat.age_s:.0f} s old", "it hangs; the supervisor restarts it")
        else:
            yield Finding(f"heartbeat {role}", Verdict.OK, f"{max(beat.age_s, 0):.1f} s old")


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        raise StackError(f"Python {version}; Readfirst runs on 3.11 and 3.12", "uv run --python 3.12 readfirst doctor")
    return f"Python {version}"


def _writable(data: Path) -> str:
    Folders(data).make()
    return str(data)


def _disk(data: Path) -> Finding:
    place = next(path for path in (data, *data.parents) if path.exists())
    free = shutil.disk_usage(place).free
    words = f"{free / (1 << 30):.1f} GiB free"
    if free >= _DISK_WANTED:
        return Finding("free disk", Verdict.OK, words)
    verdict = Verdict.WARNING if free >= _DISK_NEEDED else Verdict.FAILED
    return Finding("free disk", verdict, words, f"make room on the disk of {place}, or choose another folder with --data")


def _ports(settings: Settings, stack: StackState, servers: tuple[str, ...]) -> Iterator[Finding]:
    """A running stack holds its own ports; a stopped one needs them free, or takes others."""
    for name, want in ports.usual(settings, servers, ROLES).items():
        used = stack.ports.get(name, {}).get("port", want.port)
        if stack.running:
            yield Finding(f"port {name}", Verdict.OK, f"{used} is ours")
        elif is_free(used, want.host):
            yield Finding(f"port {name}", Verdict.OK, f"{used} is free")
        else:
            remedy = f"nothing need be done: `readfirst up` chooses another; or end the program that listens on {used}"
            yield Finding(f"port {name}", Verdict.WARNING, f"{used} is taken by another program", remedy)


def _jars() -> str:
    folder = kafka_jars.jars_dir()
    if not folder.is_dir():
        return f"Apache Kafka {kafka_jars.KAFKA_VERSION} is fetched at the first start"
    kafka_jars.verify(folder)
    return f"Apache Kafka {kafka_jars.KAFKA_VERSION}: {len(kafka_jars.expected())} jars match their checksums"


def _triton() -> str:
    triton_environment.check_platform()
    folder = triton_environment.folder()
    return f"environment in {folder}" if folder.is_dir() else "its environment is made at the first start"


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{command[0]} does not run: {error}", "install Readfirst again: uv sync --reinstall") from error
    if done.returncode != 0:
        raise StackError(f"{command[0]} does not run: {done.stderr.strip()[-300:]}", "install Readfirst again: uv sync --reinstall")
    return done.stdout.strip().splitlines()[0]
