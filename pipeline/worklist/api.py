"""The JSON API: the list, one study and what is behind it, and what a reader does."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.domain.site import Policy
from pipeline.errors import Conflict
from pipeline.ports import Clock, ListedItem, ListQuery, Page, WorklistActions, WorklistReader
from pipeline.worklist import presentation, readers
from pipeline.worklist.alerts import AlertsApi, method_of
from pipeline.worklist.people import People
from pipeline.worklist.problems import problem
from pipeline.worklist.queries import list_query, matches, without_text
from pipeline.worklist.stream import ChangeHub
from pipeline.worklist.timeline import timeline

Act = Callable[[str, str, Any], Awaitable[ListedItem]]
SCAN = 500
SAME_PATIENT = 20


class WorklistApi:
    """Endpoints over the ports. A reader without a name sees pseudonyms only and changes nothing."""

    def __init__(
        self,
        reader: WorklistReader,
        actions: WorklistActions,
        people: People,
        hub: ChangeHub,
        clock: Clock,
        policy: Callable[[], Policy],
        alerts: AlertsApi | None = None,
    ) -> None:
        self._reader = reader
        self._actions = actions
        self._people = people
        self._hub = hub
        self._clock = clock
        self._policy = policy
        self._alerts = alerts

    def routes(self) -> list[Route]:
        """All of /api but the stream."""
        study = "/api/worklist/{study_uid}"
        return [
            Route("/api/worklist", self.list),
            Route("/api/worklist/next", self.next, methods=["POST"]),
            Route(study, self.study),
            Route(f"{study}/history", self.history),
            Route(f"{study}/timeline", self.timeline),
            Route(f"{study}/claim", self._act(self._actions.claim), methods=["POST"]),
            Route(f"{study}/release", self._act(self._actions.release), methods=["POST"]),
            Route(f"{study}/acknowledge", self.acknowledge, methods=["POST"]),
            Route("/api/summary", self.summary),
            Route("/api/reader", self.who),
            Route("/api/reader", self.say_who, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """A page of the list, with an ETag, so that asking again costs little when nothing has changed."""
        reader = readers.reader_of(request)
        query = list_query(request.query_params, self._clock.now(), self._policy())
        page = await self._page(query, reader)
        people = await self._people.behind((listed.item.patient for listed in page.items), reader)
        rows = presentation.by_person(page.items, people, self._clock.now())
        if self._alerts is not None:
            await self._alerts.of_rows(rows)
        return self._answer(request, {"items": rows, "next": page.next})

    async def study(self, request: Request) -> Response:
        """One study, open or closed, with its reasons."""
        reader = readers.reader_of(request)
        listed = await self._reader.get(request.path_params["study_uid"])
        return self._answer(request, await self._detail(listed, reader))

    async def history(self, request: Request) -> Response:
        """Every recorded change of rank, newest first."""
        study_uid = request.path_params["study_uid"]
        await self._reader.get(study_uid)
        changes = await self._reader.history(study_uid)
        return self._answer(request, {"changes": [presentation.rank_change(change) for change in changes]})

    async def timeline(self, request: Request) -> Response:
        """The patient's facts on one axis."""
        listed = await self._reader.get(request.path_params["study_uid"])
        return self._answer(request, timeline(await self._reader.patient_events(listed.item.patient)))

    async def summary(self, request: Request) -> Response:
        """Counts, the oldest, the feeds. A store that cannot be read is a 503, which the page shows."""
        now = self._clock.now()
        found = await self._reader.summary(now)
        alerts = await self._alerts.summary() if self._alerts is not None else {}
        return self._json({**presentation.summary(found, now, self._hub.trouble_since), **alerts})

    async def next(self, request: Request) -> Response:
        """Claims the most urgent study that the filters allow and nobody has."""
        reader = readers.required_reader(request)
        query = list_query(request.query_params, self._clock.now(), self._policy())
        listed = await self._actions.claim_next(reader, query, self._clock.now())
        return self._json(await self._detail(listed, reader))

    async def who(self, request: Request) -> Response:
        """The name this browser gave."""
        return self._json({"reader": readers.reader_of(request)})

    async def say_who(self, request: Request) -> Response:
        """Keeps the name in a cookie; an empty name takes it away."""
        name = await _given_name(request)
        reader = readers.clean_name(name) if name else None
        if name and reader is None:
            raise HTTPException(400, f"A name has 1 to {readers.LONGEST} letters and no control characters.")
        response = self._json({"reader": reader})
        readers.remember(response, reader, secure=request.url.scheme == "https")
        return response

    async def acknowledge(self, request: Request) -> Response:
        """Seen why it is urgent: the study's open alerts go with it."""
        method = method_of(request)
        return await self._act(lambda uid, reader, now: self._actions.acknowledge(uid, reader, now, method=method))(request)

    def _act(self, action: Act) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            reader = readers.required_reader(request)
            study_uid = request.path_params["study_uid"]
            try:
                listed = await action(study_uid, reader, self._clock.now())
            except Conflict as conflict:
                now_held = await self._reader.get(study_uid)
                return problem(409, str(conflict), claimed_by=now_held.claimed_by, state=now_held.item.state)
            return self._json(await self._detail(listed, reader))

        return endpoint

    async def _page(self, query: ListQuery, reader: str | None) -> Page:
        """With words to look for and a named reader, names are searched too: the list is gone through, at least `limit` finds a page."""
        if query.text is None or reader is None:
            return await self._reader.page(query)
        found: list[ListedItem] = []
        scan = without_text(query, SCAN)
        while True:
            page = await self._reader.page(scan)
            names = await self._people.for_search((listed.item.patient for listed in page.items), reader)
            found += [listed for listed in page.items if matches(listed, names.get(listed.item.patient), query.text)]
            if page.next is None or len(found) >= query.limit:
                return Page(found, page.next)
            scan = replace(scan, after=page.next)

    async def answer_study(self, listed: ListedItem, reader: str | None) -> Response:
        """A study as every act on it answers."""
        return self._json(await self._detail(listed, reader))

    async def _detail(self, listed: ListedItem, reader: str | None) -> dict[str, Any]:
        item = listed.item
        people = await self._people.behind([item.patient], reader)
        accession = await self._people.number(item.study.accession, reader)
        same = (await self._reader.page(ListQuery(limit=SAME_PATIENT, patient=item.patient))).items if listed.same_patient else []
        others = [one for one in same if one.item.study.study_uid != item.study.study_uid]
        body = presentation.detail(listed, people.get(item.patient), accession, others, self._clock.now(), self._policy())
        if self._alerts is not None:
            await self._alerts.of_rows([body])
            body["alerts"] = await self._alerts.of_study(item.study.study_uid)
        return body

    def _json(self, body: Any) -> Response:
        response = Response(msgspec.json.encode(body), media_type="application/json")
        response.headers["x-readfirst-now"] = self._clock.now().isoformat()
        return response

    def _answer(self, request: Request, body: Any) -> Response:
        """200 with an ETag, or 304; both carry the server's present."""
        response = self._json(body)
        etag = f'"{hashlib.sha256(response.body).hexdigest()[:20]}"'
        if request.headers.get("if-none-match") == etag:
            response = Response(status_code=304, headers={"x-readfirst-now": response.headers["x-readfirst-now"]})
        response.headers["etag"] = etag
        response.headers["cache-control"] = "private, no-cache"
        return response


async def _given_name(request: Request) -> Any:
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any]).get("name")
    except msgspec.DecodeError as error:
        raise HTTPException(400, 'The body is JSON: {"name": "…"}.') from error
