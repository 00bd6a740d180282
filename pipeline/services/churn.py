"""How restless the list is, looked at once in a while: for the metrics, against the site's budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from pipeline.domain.site import Policy
from pipeline.errors import Unavailable
from pipeline.ports import Clock, SiteFigures

log = structlog.get_logger()

EVERY_S = 60.0
SPAN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Churn:
    """The last hour. ratio: the larger of both over its budget."""

    moves_per_study: float
    top_moves: int
    ratio: float


class ChurnWatch:
    """`last` is None until the first look, and while the store is away."""

    def __init__(self, figures: SiteFigures, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._figures = figures
        self._clock = clock
        self._policy = policy
        self.last: Churn | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable:
                self.last = None
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Reads the figures once. Raises Unavailable."""
        found, budget = await self._figures.lately(self._clock.now() - SPAN), self._policy().churn
        moves = found.moves / found.studies if found.studies else 0.0
        ratio = max(moves / budget.moves_per_study, found.top_moves / budget.top_moves_per_hour)
        if ratio > 1 and (self.last is None or self.last.ratio <= 1):
            log.warning("list_restless", moves_per_study=round(moves, 2), top_moves=found.top_moves)
        self.last = Churn(moves, found.top_moves, ratio)
