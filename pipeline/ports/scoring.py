"""A risk model, and what is to be scored again when it is back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.assessments import AssessRequest, Risk


class Scorer(Protocol):
    """A risk model."""

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """One Risk for each request, in order; without a probability where the model has none for it.

        look: at films, which a score may wait for; else what has one that the model would read is told `late`.
        Raises Unavailable when the model does not answer within its deadline.
        """
        ...


@dataclass(frozen=True, slots=True)
class DegradedScore:
    """A request that a lesser scorer answered, or the first one without a film that came late. choice: its place among them, from 0."""

    request: AssessRequest
    trace_id: str
    choice: int


class DegradedScores(Protocol):
    """What is to be scored again when the model is back; it outlives the worker."""

    async def all(self) -> list[DegradedScore]:
        """At most one of each patient."""
        ...

    async def note(self, scores: Sequence[DegradedScore]) -> None:
        """Adds them; of each patient the one with the newest context version stays."""
        ...

    async def clear(self, versions: Mapping[str, int]) -> None:
        """Patient -> context version that was answered well: removes what is not newer."""
        ...
