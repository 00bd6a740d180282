"""The page: one shell that the browser fills from the JSON API, its static files, and the two health checks."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import Scope

from pipeline.errors import ReadfirstError
from pipeline.ports import Clock, WorklistReader
from pipeline.worklist.problems import problem

HERE = Path(__file__).parent
READY_TIMEOUT_S = 2.0


class FreshFiles(StaticFiles):
    """Static files that the browser checks each time (by ETag): after an upgrade no page runs on old scripts."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As StaticFiles."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


class Pages:
    """`/`, `/study/{uid}` (the same list with that study open beside it), `/static`, `/livez`, `/readyz`."""

    def __init__(self, reader: WorklistReader, clock: Clock, time_zone: str) -> None:
        self._reader = reader
        self._clock = clock
        self._time_zone = time_zone
        self._templates = Jinja2Templates(HERE / "templates")

    def routes(self) -> list[BaseRoute]:
        """All but /api."""
        return [
            Route("/", self.worklist),
            Route("/study/{study_uid}", self.worklist),
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Mount("/static", FreshFiles(directory=HERE / "static")),
        ]

    async def worklist(self, request: Request) -> Response:
        """The shell."""
        return self._templates.TemplateResponse(request, "worklist.html", {"time_zone": self._time_zone})

    async def live(self, request: Request) -> Response:
        """The process answers."""
        return Response("ok\n", media_type="text/plain")

    async def ready(self, request: Request) -> Response:
        """The list can be read."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._reader.summary(self._clock.now())
        except (ReadfirstError, TimeoutError):
            return problem(503, "The worklist's store does not answer.")
        return Response("ok\n", media_type="text/plain")
