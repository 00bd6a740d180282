"""Scores to be made again, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.ports import DegradedScore


class MemoryDegradedScores:
    """DegradedScores."""

    def __init__(self) -> None:
        self._scores: dict[str, DegradedScore] = {}

    async def all(self) -> list[DegradedScore]:
        """As DegradedScores.all."""
        return list(self._scores.values())

    async def note(self, scores: Sequence[DegradedScore]) -> None:
        """As DegradedScores.note."""
        for score in scores:
            known = self._scores.get(score.request.patient)
            if known is None or known.request.context_version <= score.request.context_version:
                self._scores[score.request.patient] = score

    async def clear(self, versions: Mapping[str, int]) -> None:
        """As DegradedScores.clear."""
        for patient, version in versions.items():
            known = self._scores.get(patient)
            if known is not None and known.request.context_version <= version:
                del self._scores[patient]
