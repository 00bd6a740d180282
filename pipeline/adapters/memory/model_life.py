"""A candidate's scores, and what a model was asked, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime

from pipeline.domain.drift import Counts
from pipeline.domain.shadow import ShadowScore


class MemoryShadowScores:
    """ShadowScores."""

    def __init__(self) -> None:
        self._scores: dict[tuple[str, int, str], ShadowScore] = {}

    async def add(self, scores: Sequence[ShadowScore]) -> None:
        """As ShadowScores.add."""
        for score in scores:
            self._scores.setdefault((score.patient, score.context_version, score.shadow_version), score)

    async def since(self, moment: datetime, limit: int = 100_000) -> list[ShadowScore]:
        """As ShadowScores.since."""
        found = [score for score in self._scores.values() if score.scored_at >= moment]
        return sorted(found, key=lambda score: score.scored_at, reverse=True)[:limit]


class MemoryDriftCounts:
    """DriftCounts."""

    def __init__(self) -> None:
        self._counts: dict[tuple[date, str], Counter[tuple[str, int]]] = {}

    async def add(self, day: date, version: str, counts: Counts) -> None:
        """As DriftCounts.add."""
        self._counts.setdefault((day, version), Counter()).update(counts)

    async def of(self, day: date, version: str) -> Counts:
        """As DriftCounts.of."""
        return dict(self._counts.get((day, version), Counter()))
