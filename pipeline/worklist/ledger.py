"""/ledger: what the order of reading saved and what it cost, day by day, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from pipeline.domain.ledger import Moved
from pipeline.ports import LedgerStore

DAYS_SHOWN = 30


class LedgerPage:
    """Nothing here names a patient or a study: everybody may look."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._templates = Jinja2Templates(Path(__file__).parent / "templates")
        self._templates.env.filters["moved"] = in_words

    def routes(self, time_zone: str) -> list[Route]:
        """The page and its data."""

        async def page(request: Request) -> Response:
            days = await self._store.days(DAYS_SHOWN)
            return self._templates.TemplateResponse(request, "ledger.html", {"time_zone": time_zone, "days": days})

        return [Route("/ledger", page), Route("/api/ledger", self.days)]

    async def days(self, request: Request) -> Response:
        """The newest first."""
        return Response(msgspec.json.encode({"days": await self._store.days(DAYS_SHOWN)}), media_type="application/json")


def in_words(moved: Moved) -> str:
    """The mean a study, with the direction as a word: "12.4 min sooner"."""
    if not moved.studies:
        return "–"
    return f"{abs(moved.mean):.1f} min {'later' if moved.mean < 0 else 'sooner'}"
