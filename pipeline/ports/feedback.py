"""Readers' words on findings."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.feedback import Feedback


class FeedbackStore(Protocol):
    """Kept for ever, in the order in which it was said; a later word takes no earlier one away. The methods raise Unavailable."""

    async def add(self, said: Feedback) -> None:
        """The same word of the same reader at the same moment is kept once."""
        ...

    async def of_study(self, study_uid: str) -> list[Feedback]:
        """Oldest first."""
        ...

    async def of_finding(self, finding: str) -> list[Feedback]:
        """Of all studies, by the finding's code; oldest first."""
        ...
