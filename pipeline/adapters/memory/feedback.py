"""Readers' words on findings, in memory."""

from __future__ import annotations

from pipeline.domain.feedback import Feedback


class MemoryFeedback:
    """FeedbackStore."""

    def __init__(self) -> None:
        self._said: dict[tuple[object, ...], Feedback] = {}

    async def add(self, said: Feedback) -> None:
        """As FeedbackStore.add."""
        self._said.setdefault((said.place, said.reader, said.at), said)

    async def of_study(self, study_uid: str) -> list[Feedback]:
        """As FeedbackStore.of_study."""
        return sorted((one for one in self._said.values() if one.study_uid == study_uid), key=lambda one: one.at)

    async def of_finding(self, finding: str) -> list[Feedback]:
        """As FeedbackStore.of_finding."""
        return sorted((one for one in self._said.values() if one.finding == finding), key=lambda one: one.at)
