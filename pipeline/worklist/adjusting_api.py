"""The JSON API for what readers do to a deadline, and for the site's rules that they do it by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.domain.site import Policy
from pipeline.ports import Clock, ListedItem, SiteFigures
from pipeline.services.adjusting import Adjusting
from pipeline.worklist import readers

Answer = Callable[[ListedItem, str], Awaitable[Response]]
CHURN_HOURS = 24


class Rules(Protocol):
    """The site's rules as the page needs them (`pipeline.services.site_rules`)."""

    faults: list[str]
    refused_at: datetime | None

    def policy(self) -> Policy:
        """Those in force."""
        ...


class _Hold(msgspec.Struct, forbid_unknown_fields=True):
    code: str
    minutes: float | None = None
    note: str | None = None


class _Defer(msgspec.Struct, forbid_unknown_fields=True):
    minutes: float
    note: str | None = None


class _Override(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    minutes: float
    due_at: datetime | None = None
    due_in_minutes: float | None = None


class AdjustingApi:
    """Holds, deferrals, overrides; `/api/site`. `answer` turns an item into the response that all of a study's endpoints give."""

    def __init__(self, adjusting: Adjusting, rules: Rules, figures: SiteFigures | None, clock: Clock, answer: Answer) -> None:
        self._adjusting = adjusting
        self._rules = rules
        self._figures = figures
        self._clock = clock
        self._answer = answer

    def routes(self) -> list[Route]:
        """All of them."""
        study = "/api/worklist/{study_uid}"
        acts = {"hold": self.hold, "defer": self.defer, "resume": self.resume, "override": self.override, "free": self.free}
        return [
            *(Route(f"{study}/{name}", endpoint, methods=["POST"]) for name, endpoint in acts.items()),
            Route("/api/site", self.site),
            Route("/api/site/churn", self.churn),
            Route("/api/site/sources", self.sources),
        ]

    async def hold(self, request: Request) -> Response:
        """{"code", "minutes"?, "note"?}"""
        reader, said = readers.required_reader(request), await _body(request, _Hold)
        return await self._answer(await self._adjusting.hold(_uid(request), reader, said.code, said.minutes, said.note), reader)

    async def defer(self, request: Request) -> Response:
        """{"minutes", "note"?}"""
        reader, said = readers.required_reader(request), await _body(request, _Defer)
        return await self._answer(await self._adjusting.defer(_uid(request), reader, said.minutes, said.note), reader)

    async def resume(self, request: Request) -> Response:
        """Ends a hold or a deferral."""
        reader = readers.required_reader(request)
        return await self._answer(await self._adjusting.resume(_uid(request), reader), reader)

    async def override(self, request: Request) -> Response:
        """{"reason", "minutes", and "due_at" with its time zone or "due_in_minutes" from now}"""
        reader, said = readers.required_reader(request), await _body(request, _Override)
        due = said.due_at
        if due is None and said.due_in_minutes is not None and abs(said.due_in_minutes) < 1e6:
            due = self._clock.now() + timedelta(minutes=said.due_in_minutes)
        if due is None:
            raise HTTPException(400, "An override needs due_at or due_in_minutes.")
        return await self._answer(await self._adjusting.override(_uid(request), reader, due, said.minutes, said.reason), reader)

    async def free(self, request: Request) -> Response:
        """Ends an override."""
        reader = readers.required_reader(request)
        return await self._answer(await self._adjusting.free(_uid(request), reader), reader)

    async def site(self, request: Request) -> Response:
        """The rules in force, as far as the page uses them; and why a newer file was refused."""
        policy = self._rules.policy()
        lists = [{"name": one.name, "title": one.title, "skill": one.skill} for one in policy.lists]
        refused = {"at": self._rules.refused_at, "faults": self._rules.faults} if self._rules.faults else None
        body = {
            "version": policy.version,
            "lists": lists,
            "holds": [asdict(reason) for reason in policy.holds],
            "override_longest_minutes": policy.override_longest / timedelta(minutes=1),
            "refused": refused,
        }
        return _json(body)

    async def churn(self, request: Request) -> Response:
        """How restless the list was in the last day, by hour, against the site's budget."""
        hours = [] if self._figures is None else await self._figures.churn(self._clock.now() - timedelta(hours=CHURN_HOURS))
        return _json({"budget": asdict(self._rules.policy().churn), "hours": [asdict(hour) for hour in hours]})

    async def sources(self, request: Request) -> Response:
        """Who orders how much as stat or asap in 28 days. It is information: no study is due later for it."""
        found = [] if self._figures is None else await self._figures.sources()
        high = self._rules.policy().inflated
        rows = [{**asdict(one), "high": one.inflation is not None and one.inflation >= high} for one in found]
        return _json({"high_from": high, "sources": rows})


def _uid(request: Request) -> str:
    return str(request.path_params["study_uid"])


async def _body(request: Request, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.DecodeError as error:
        raise HTTPException(400, f"The body cannot be understood: {error}.") from error


def _json(body: Any) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
