"""Looks at items again whose time has come: holds and overrides that are over, noise that has settled, rules that have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from pipeline.domain import explanation, ranking
from pipeline.domain.site import Policy
from pipeline.errors import Unavailable
from pipeline.ports import Clock, EventLog, ItemChange, Record, ReviewStore
from schemas import codec
from schemas.identifiers import event_id
from schemas.topics import WORKLIST
from schemas.worklist import WorklistItem

log = structlog.get_logger()

EVERY_S = 2.0
PORTION = 500
ASK_EVERY = timedelta(seconds=30)
"""How often the list is asked for items of another version: one may have been ranked by a worker that did not know yet."""


class Review:
    """Runs beside the ranking stage; several workers may."""

    def __init__(self, store: ReviewStore, log: EventLog, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._policy = policy
        self._asked: tuple[str, datetime] | None = None
        self.reviewed = 0
        self.moved = 0

    async def run(self) -> None:
        """Until cancelled. A store or a log that is away only delays it."""
        while True:
            try:
                while await self.once() == PORTION:
                    pass
            except Unavailable as error:
                log.warning("review_delayed", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def once(self) -> int:
        """One portion of what is due; says how many items it looked at. Raises Unavailable: nothing was changed."""
        await self._ask()
        now, policy = self._clock.now(), self._policy()
        async with self._store.begin_review() as transaction:
            items = await transaction.due(now, PORTION)
            if not items:
                return 0
            changes = [_change(item, ranking.review(item, now, policy)) for item in items]
            moved = [change for change in changes if change.changed]
            if moved:
                await self._log.append([_record(change) for change in moved])
            await transaction.store(changes)
        self.reviewed += len(items)
        self.moved += len(moved)
        log.info("items_reviewed", reviewed=len(items), moved=len(moved))
        return len(items)

    async def _ask(self) -> None:
        """Each time the rules change, and then every so often."""
        now, version = self._clock.now(), self._policy().version
        if self._asked is not None and self._asked[0] == version and now < self._asked[1]:
            return
        if found := await self._store.ask_for_review(version, now):
            log.info("rules_changed", version=version, to_review=found)
        self._asked = (version, now + ASK_EVERY)


def _change(before: WorklistItem, after: WorklistItem) -> ItemChange:
    name = event_id("review", f"{before.study.study_uid}|{after.ranked_at.isoformat()}")
    if ranking.same_to_a_reader(replace(before, review_at=after.review_at), after):
        return ItemChange(after, "", name, changed=False, kind="review")
    return ItemChange(after, explanation.cause(before, after), name, kind="review")


def _record(change: ItemChange) -> Record:
    headers = {"event_id": change.event_id, "trace_id": "", "source": "ranking"}
    return Record(WORKLIST, change.item.study.study_uid.encode(), codec.encode(change.item), headers)
