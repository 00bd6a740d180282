"""Items that are looked at again without new evidence: a hold or an override is over, noise has settled, the site's rules are others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from pipeline.ports.worklist import ItemChange
from schemas.worklist import WorklistItem


class ReviewTransaction(Protocol):
    """One portion of due items, locked until commit."""

    async def due(self, now: datetime, limit: int) -> Sequence[WorklistItem]:
        """Open items whose `review_at` has come, the longest due first; those that another worker looks at are passed over."""
        ...

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """Writes the items as they are now; those changed also into the history, and the page's listeners are told at commit."""
        ...


class ReviewStore(Protocol):
    """The worklist as the review writes it."""

    def begin_review(self) -> AbstractAsyncContextManager[ReviewTransaction]:
        """Commits on a clean exit. Raises Unavailable."""
        ...

    async def ask_for_review(self, version: str, now: datetime) -> int:
        """Makes every open item due that was ranked by rules other than `version`; says how many. Raises Unavailable."""
        ...
