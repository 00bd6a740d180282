"""One replay from a log file: its scorer, its policy, what is refused, and where the result goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Literal

from pipeline.adapters.kafka.log import KafkaEventLog
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.site.file import load
from pipeline.domain.site import DEFAULT, Policy
from pipeline.ports import Scorer
from pipeline.replay import saved, scorers
from pipeline.replay.engine import RankMove, Replayed, quietly, replay
from pipeline.replay.escalations import escalations
from pipeline.replay.feeding import feed
from pipeline.replay.log_file import LogReader, UnreadableLog
from pipeline.replay.past import Change
from pipeline.replay.state import FORMAT as STATE_FORMAT
from pipeline.settings import Settings
from schemas.topics import BY_NAME

ScorerName = Literal["model", "recorded", "rules"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a log is replayed. site: a site file; None: the defaults. any_model: scores anew though another model scored live."""

    scorer: ScorerName = "model"
    site: Path | None = None
    until: datetime | None = None
    any_model: bool = False
    salvage: bool = False

    @property
    def policy(self) -> Policy:
        """Raises SiteFileRefused."""
        return DEFAULT if self.site is None else load(self.site).policy


def opened(path: Path, salvage: bool) -> LogReader:
    """Raises UnreadableLog, also for documents of a newer major version; DamagedLog unless what is good is to be read."""
    log = LogReader(path, salvage=salvage)
    if log.header.note == STATE_FORMAT:
        log.close()
        raise UnreadableLog(f"{path} is the state of a replay: name it with --from-state, beside the log that goes on from there")
    for name, schema in log.header.schemas.items():
        topic = BY_NAME.get(name)
        known = str(topic.document.__struct_config__.tag) if topic else "no such topic"
        if topic is None or known != schema:
            log.close()
            raise UnreadableLog(f"{path} holds {schema} on the topic {name}; this program knows: {known}")
    return log


def scorer_of(log: LogReader, choice: Choice, clock: ManualClock) -> Scorer | Literal["recorded"] | None:
    """Raises ModelAbsent."""
    if choice.scorer == "model":
        return scorers.model_scorer({} if choice.any_model else log.models, clock)
    if choice.scorer == "recorded":
        if not log.models:
            raise scorers.ModelAbsent("the log holds no scores: record it with the topic assessments, or use --scorer model or rules")
        return "recorded"
    return None


def played(
    log: LogReader,
    choice: Choice,
    *,
    keep_history: bool = True,
    on_move: Callable[[RankMove], None] | None = None,
    speed: float | None = None,
    progress: Progress = lambda done, total: None,
    from_state: Path | None = None,
    save_state: Path | None = None,
    escalate: bool = False,
) -> Replayed:
    """Blocks until the log has gone through. speed: so many times faster than life; None: as fast as this machine can.

    escalate: works out who would have been told, too, for which all changes are held in memory.
    """
    clock, changes = ManualClock(), list[Change]()

    def moved(move: RankMove) -> None:
        changes.append(Change(move.at, move.item, move.cause))
        if on_move is not None:
            on_move(move)

    run = replay(
        log,
        policy=choice.policy,
        scorer=scorer_of(log, choice, clock),
        until=choice.until,
        clock=clock,
        keep_history=keep_history,
        on_move=moved if escalate else on_move,
        pace=None if speed is None else _Pace(speed),
        progress=lambda done: progress(done, log.records),
        from_state=from_state,
        save_state=save_state,
    )

    async def whole() -> Replayed:
        done = await run
        with quietly():
            done.escalations = await escalations(sorted(changes, key=lambda change: change.at), choice.policy.escalation, done.until)
        return done

    return asyncio.run(whole())


def fed(log: LogReader, settings: Settings, until: datetime | None, speed: float | None, progress: Progress) -> int:
    """Sends the log's input records to a running stack. Raises Unavailable."""

    async def send() -> int:
        kafka = KafkaEventLog(settings.kafka)
        try:
            pace = None if speed is None else _Pace(speed)
            return await feed(log, kafka, until=until, pace=pace, progress=lambda done: progress(done, log.records))
        finally:
            await kafka.close()

    return asyncio.run(send())


def result(path: Path, choice: Choice, progress: Progress = lambda done, total: None) -> saved.Saved:
    """Of a log that is replayed now, or of a replay that was saved."""
    if saved.is_saved(path):
        return saved.read(path)
    log = opened(path, choice.salvage)
    try:
        moves: list[saved.Move] = []
        done = played(
            log, choice, keep_history=False, on_move=lambda move: moves.append(saved.Move.of(move)), progress=progress, escalate=True
        )
    finally:
        log.close()
    return saved.Saved(saved.summary(done, path.name, choice.policy.version, choice.scorer), moves)


class _Pace:
    """Waits until as much time has passed as in the log, divided by the speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._begun: tuple[datetime, float] | None = None

    async def __call__(self, at: datetime) -> None:
        if self._begun is None:
            self._begun = (at, monotonic())
        first, started = self._begun
        wait = (at - first).total_seconds() / self._speed - (monotonic() - started)
        if wait > 0:
            await asyncio.sleep(wait)
