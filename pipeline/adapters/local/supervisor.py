"""Keeps processes running: starts each when what it needs is healthy, watches it, restarts it with growing pauses, ends all in order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import structlog

from pipeline.adapters.local.process import Child, Fork, Launch, bury_group, no_fork, rotate, shorten, tail
from pipeline.adapters.local.state import GOOD, PartState, State
from pipeline.errors import StackError

Progress = Callable[[str, str], None]
Kind = Literal["server", "step", "role"]
log = structlog.get_logger()

_POLL_S = 0.1
_CHECK_INTERVAL_S = {"server": 5.0, "step": 5.0, "role": 1.0}
_START_LIMIT_S = 120.0
_HUNG_AFTER_S = 30.0
_SETTLED_AFTER_S = 60.0
_FAILURES_UNTIL_START_FAILS = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSE_RESET_S = 0.5, 10.0, 30.0


def _nothing(_: Progress) -> None:
    """Nothing to prepare."""


@dataclass(frozen=True)
class Part:
    """A process of the stack. `prepare`, `ready` and `settled` (after a minute of health) may block: they run in threads."""

    name: str
    kind: Kind
    launch: Callable[[], Launch]
    ready: Callable[[], bool] = lambda: True
    prepare: Callable[[Progress], None] = _nothing
    settled: Callable[[], None] = lambda: None
    needs: frozenset[str] = frozenset()
    needs_prepared: frozenset[str] = frozenset()
    optional: bool = False
    address: str | None = None


class Backoff:
    """Pauses between restarts: 0.5 s, doubling to 10 s; as new once a process was healthy for 30 s."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE_S

    def next(self, healthy_for_s: float) -> float:
        """The pause before the next start, seconds."""
        if healthy_for_s >= _PAUSE_RESET_S:
            self._pause = _FIRST_PAUSE_S
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE_S)
        return pause


class _Kept:
    """A part with its process and its state."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.state = PartState(part.name, part.kind, address=part.address)
        self.child: Child | None = None
        self.prepared = asyncio.Event()  # or absent
        self.usable = asyncio.Event()  # was healthy once, or is done, or absent
        self.settled = asyncio.Event()  # nothing more to wait for at start
        self.failures = 0

    def open_gates(self) -> None:
        for gate in (self.prepared, self.usable, self.settled):
            gate.set()


class Supervisor:
    """Runs in one event loop, in one thread that lives as long as its processes (Linux ends them with it)."""

    def __init__(
        self,
        parts: Sequence[Part],
        progress: Progress,
        changed: Callable[[list[PartState]], None],
        fork: Fork = no_fork,
    ) -> None:
        self._kept = {part.name: _Kept(part) for part in parts}
        self._progress = progress
        self._changed = changed
        self._fork = fork
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when every part is healthy, done or absent. Raises StackError if one cannot be made to run."""
        self._changed(self._states())
        self._tasks = [asyncio.create_task(self._keep(kept), name=name) for name, kept in self._kept.items()]
        all_settled = asyncio.create_task(self._all_settled())
        pending = {all_settled, *self._tasks}
        try:
            while not all_settled.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            all_settled.cancel()

    async def watch(self) -> None:
        """Returns never; raises what a keeper raised: a defect, for all that can happen to a process is handled."""
        await asyncio.gather(*self._tasks)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End the roles, then the servers; each has ten seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wave in (("role", "step"), ("server",)):
            await asyncio.gather(*(self._end(kept) for kept in self._kept.values() if kept.part.kind in wave))

    async def _all_settled(self) -> None:
        for kept in self._kept.values():
            await kept.settled.wait()

    async def _keep(self, kept: _Kept) -> None:
        """The life of one part."""
        for name in kept.part.needs & self._kept.keys():
            await self._kept[name].usable.wait()
        for name in kept.part.needs_prepared & self._kept.keys():
            await self._kept[name].prepared.wait()
        if not await self._prepare(kept):
            return
        backoff = Backoff()
        while True:
            healthy_for_s = await self._run_once(kept)
            if kept.state.state is State.DONE:
                return
            self._count_failure(kept, healthy_for_s)
            pause = backoff.next(healthy_for_s)
            self._enter(kept, State.RESTARTING, f"{kept.state.detail}; next start after {pause:g} s")
            await asyncio.sleep(pause)
            if kept.child is not None:
                bury_group(kept.child.pid)
            kept.state.restarts += 1

    async def _prepare(self, kept: _Kept) -> bool:
        """False if the part is optional and cannot run here."""
        self._enter(kept, State.PREPARING)
        try:
            await _in_daemon_thread(partial(kept.part.prepare, self._progress))
        except Exception as error:
            if not kept.part.optional:
                raise
            log.warning("part_absent", part=kept.part.name, error=type(error).__name__)
            self._enter(kept, State.ABSENT, str(error))
            kept.open_gates()
            return False
        kept.prepared.set()
        return True

    async def _run_once(self, kept: _Kept) -> float:
        """Start it and watch it until it has ended. Returns for how many seconds it was healthy."""
        launch = kept.part.launch()
        if kept.child is None:
            rotate(launch.log)
        child = kept.child = Child(launch, self._fork)
        kept.state.identity, kept.state.log = child.identity, str(launch.log)
        self._enter(kept, State.STARTING)
        healthy_since = await self._watch(kept, child)
        code = child.exit_code()
        child.sweep()
        kept.state.identity = None
        if kept.part.kind == "step" and code == 0:
            self._enter(kept, State.DONE)
            kept.open_gates()
        else:
            kept.state.detail = f"ended with {_exit_words(code)}"
        return time.monotonic() - healthy_since if healthy_since is not None else 0.0

    async def _watch(self, kept: _Kept, child: Child) -> float | None:
        """Until the process has ended: check its health, kill it if it hangs. Returns since when it was healthy (monotonic)."""
        healthy_since: float | None = None
        settling: asyncio.Task[None] | None = None
        last_good = last_check = time.monotonic()
        is_step = kept.part.kind == "step"
        while child.exit_code() is None:
            now = time.monotonic()
            if not is_step and (healthy_since is None or now - last_check >= _CHECK_INTERVAL_S[kept.part.kind]):
                last_check = now
                if await asyncio.to_thread(kept.part.ready):
                    last_good = now
                    healthy_since = healthy_since or now
                    settling = settling or asyncio.create_task(_settle(kept.part))
                self._judge(kept, child, healthy_since, now - last_good)
                shorten(child.launch.log)
            await asyncio.sleep(_POLL_S)
        if settling is not None:
            settling.cancel()
        return healthy_since

    def _judge(self, kept: _Kept, child: Child, healthy_since: float | None, silent_s: float) -> None:
        if silent_s == 0.0 and kept.state.state is not State.HEALTHY:
            self._enter(kept, State.HEALTHY)
            kept.failures = 0
            kept.open_gates()
        elif silent_s > 0.0 and kept.state.state is State.HEALTHY:
            self._enter(kept, State.UNHEALTHY, "runs, but does not answer")
        if silent_s > (_START_LIMIT_S if healthy_since is None else _HUNG_AFTER_S):
            log.warning("part_hung", part=kept.part.name, silent_s=round(silent_s))
            child.sweep()

    def _count_failure(self, kept: _Kept, healthy_for_s: float) -> None:
        """Before it was healthy for the first time, three failures end the start; an optional part is then no longer waited for."""
        log.warning("part_ended", part=kept.part.name, how=kept.state.detail, healthy_for_s=round(healthy_for_s, 1))
        kept.failures += 1
        if kept.usable.is_set() or kept.failures < _FAILURES_UNTIL_START_FAILS:
            return
        if kept.part.optional:
            kept.settled.set()
            return
        words = f"{kept.part.name} {kept.state.detail}, {kept.failures} times:\n{tail(Path(kept.state.log))}"
        raise StackError(words, f"read {kept.state.log}, or run `readfirst doctor`")

    async def _end(self, kept: _Kept) -> None:
        if kept.child is not None:
            if kept.child.exit_code() is None:
                self._progress(kept.part.name, "stopping")
            await asyncio.to_thread(kept.child.stop)
            kept.state.identity = None
        if kept.state.state not in {State.DONE, State.ABSENT}:
            self._enter(kept, State.STOPPED)

    def _enter(self, kept: _Kept, state: State, detail: str = "") -> None:
        kept.state.enter(state, detail)
        if state in GOOD or state in {State.STARTING, State.ABSENT, State.RESTARTING}:
            self._progress(kept.part.name, f"{state}: {detail}" if detail else str(state))
        self._changed(self._states())

    def _states(self) -> list[PartState]:
        return [kept.state for kept in self._kept.values()]


async def _settle(part: Part) -> None:
    await asyncio.sleep(_SETTLED_AFTER_S)
    await _in_daemon_thread(part.settled)


def _exit_words(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


async def _in_daemon_thread(work: Callable[[], None]) -> None:
    """Like asyncio.to_thread, but the program may end while it runs: a fetch cannot be interrupted otherwise."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(None)

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, daemon=True).start()
    await future
