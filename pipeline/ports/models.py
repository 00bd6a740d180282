"""What is kept of a model's life on a site: a candidate's scores beside the served ones, and what the model was asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from pipeline.domain.shadow import ShadowScore

if TYPE_CHECKING:  # it knows the features, and so numpy, which gateways start without
    from pipeline.domain.drift import Counts


class ShadowScores(Protocol):
    """A candidate's scores; the same request again changes nothing. The methods raise Unavailable."""

    async def add(self, scores: Sequence[ShadowScore]) -> None:
        """Keeps them."""
        ...

    async def since(self, moment: datetime, limit: int = 100_000) -> list[ShadowScore]:
        """The newest first."""
        ...


class DriftCounts(Protocol):
    """How often each bin of each input was asked, by day (UTC) and model version. The methods raise Unavailable."""

    async def add(self, day: date, version: str, counts: Counts) -> None:
        """Adds to what is there: any number of workers count together."""
        ...

    async def of(self, day: date, version: str) -> Counts:
        """Of one day."""
        ...
