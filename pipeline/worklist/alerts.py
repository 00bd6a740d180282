"""Alerts on the page and in the API: what is open, what was told to whom, and what a reader does about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pipeline.domain import escalation, radlex
from pipeline.domain.escalation import Alert
from pipeline.ports import Clock
from pipeline.ports.escalation import AlertReader
from pipeline.services.alert_desk import AlertDesk, Resolution
from pipeline.worklist import readers
from pipeline.worklist.security import REQUEST_HEADER
from schemas import alerts

WORDS = {
    "notified": "open",
    "escalated": "escalated",
    "acknowledged": "acknowledged",
    "suppressed": "silent",
    "resolved": "resolved",
    "withdrawn": "withdrawn",
}
MUTED = {
    "duplicate": "told with another alert that is open",
    "persistent": "acknowledged before, and not changed since",
    "budget": "over this shift's budget for alerts that can wait",
}


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """What a reader says on closing an alert."""

    received_by: str | None = None
    method: str | None = None
    finding: str | None = None
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True)
class AlertsApi:
    """`/api/alerts` and `/alert/{id}`, where a message's link leads. Nothing here names a patient; the list does, to a named reader."""

    reader: AlertReader
    desk: AlertDesk
    clock: Clock

    def routes(self) -> list[Route]:
        """All of them."""
        one = "/api/alerts/{alert_id}"
        return [
            Route("/api/alerts", self.standing),
            Route(one, self.one),
            Route(f"{one}/acknowledge", self.acknowledge, methods=["POST"]),
            Route(f"{one}/take-over", self.take_over, methods=["POST"]),
            Route(f"{one}/resolve", self.resolve, methods=["POST"]),
            Route("/alert/{alert_id}", self.link),
        ]

    async def standing(self, request: Request) -> Response:
        """Open ones; with `?state=standing` the acknowledged and silent ones too, with a state's own name those alone."""
        asked = request.query_params.get("state", "open")
        states: Collection[str] = {"open": escalation.OPEN, "standing": escalation.STANDING}.get(asked, [asked])
        if not set(states) <= WORDS.keys():
            raise HTTPException(400, f"state is open, standing or one of {', '.join(WORDS)}")
        counts = await self.reader.counts()
        found = [brief(alert) for alert in await self.reader.in_states(states)]
        return self._json({"alerts": found, "open": counts.open, "silent": counts.suppressed})

    async def one(self, request: Request) -> Response:
        """With its history."""
        return self._json(await self.detail(await self.reader.get(request.path_params["alert_id"])))

    async def acknowledge(self, request: Request) -> Response:
        """Stops the ladder; on the study too."""
        return await self._received(request, take_over=False)

    async def take_over(self, request: Request) -> Response:
        """Also from somebody else."""
        return await self._received(request, take_over=True)

    async def resolve(self, request: Request) -> Response:
        """Body (all optional): {"received_by", "method", "finding", "confirmed"}; the record has six fields in any case."""
        reader = readers.required_reader(request)
        try:
            said = msgspec.json.decode(await request.body() or b"{}", type=Said)
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"The body is not as it should be: {error}") from error
        words = {name: readers.clean_name(value) for name in ("received_by", "method", "finding") if (value := getattr(said, name))}
        if None in words.values():
            raise HTTPException(400, f"Words have 1 to {readers.LONGEST} letters and no control characters.")
        resolution = Resolution(**words, confirmed=said.confirmed)
        return self._json(await self.detail(await self.desk.resolve(request.path_params["alert_id"], reader, resolution)))

    async def link(self, request: Request) -> Response:
        """From a message to the study on the list; an alert that no study stands behind leads to the list of alerts."""
        alert = await self.reader.get(request.path_params["alert_id"])
        return RedirectResponse("/#alerts" if alert.study_uid is None else f"/study/{alert.study_uid}", 302)

    async def of_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Adds to each row its most pressing alert that stands, or None. An old acknowledgement does not answer a new alert."""
        found = await self.reader.of_studies([row["study_uid"] for row in rows])
        for row in rows:
            standing = [alert for alert in found.get(row["study_uid"], ()) if alert.state in escalation.STANDING]
            pressing = min(standing, key=lambda alert: (not alert.is_open, alert.category, alert.raised_at), default=None)
            row["alert"] = None if pressing is None else brief(pressing)
            if pressing is not None and pressing.is_open:
                row["marks"] = [mark(pressing), *row["marks"]]
                row["acknowledged_by"] = row["acknowledged_at"] = None

    async def of_study(self, study_uid: str) -> list[dict[str, Any]]:
        """All of the study's alerts with their histories."""
        return [await self.detail(alert) for alert in (await self.reader.of_studies([study_uid])).get(study_uid, ())]

    async def detail(self, alert: Alert) -> dict[str, Any]:
        """An alert with everything that was done about it."""
        return {**brief(alert), "history": [line(entry) for entry in await self.reader.history(alert.id)]}

    async def summary(self) -> dict[str, Any]:
        """What stands above the list: how many are open, and what operations should know."""
        counts = await self.reader.counts()
        operations = [alert for alert in await self.reader.in_states(escalation.OPEN) if alert.study_uid is None] if counts.open else []
        return {"alerts": counts.open, "silent_alerts": counts.suppressed, "operations": [brief(alert) for alert in operations]}

    async def _received(self, request: Request, *, take_over: bool) -> Response:
        reader = readers.required_reader(request)
        alert = await self.desk.acknowledge(request.path_params["alert_id"], reader, method_of(request), take_over=take_over)
        return self._json(await self.detail(alert))

    def _json(self, body: Any) -> Response:
        response = Response(msgspec.json.encode(body), media_type="application/json", headers={"cache-control": "private, no-cache"})
        response.headers["x-readfirst-now"] = self.clock.now().isoformat()
        return response


def method_of(request: Request) -> str:
    """How an acknowledgement came: the page says that it is the page."""
    return "page" if request.headers.get(REQUEST_HEADER) == "page" else "api"


def brief(alert: Alert) -> dict[str, Any]:
    """One alert as the list and the API show it; all times UTC."""
    code, words = radlex.CATEGORIES[alert.category]
    record = None if alert.record is None else msgspec.to_builtins(alert.record, builtin_types=(datetime,))
    return {
        "id": alert.id,
        "study_uid": alert.study_uid,
        "subject": alert.subject,
        "trigger": alert.trigger,
        "state": alert.state,
        "state_words": WORDS[alert.state],
        "open": alert.is_open,
        "category": alert.category,
        "category_words": words,
        "category_radlex": code,
        "radlex": alert.radlex,
        "what": alert.what,
        "finding": alert.finding,
        "raised_at": alert.raised_at,
        "identified_at": alert.identified_at,
        "next_at": alert.next_at if alert.is_open else None,
        "round": alert.round,
        "told": None if alert.told is None else msgspec.to_builtins(alert.told, builtin_types=(datetime,)),
        "muted": alert.muted and MUTED[alert.muted],
        "acknowledged_by": alert.acknowledged_by,
        "acknowledged_at": alert.acknowledged_at,
        "record": record,
        "confirmed": alert.confirmed,
    }


def mark(alert: Alert) -> dict[str, str]:
    """The word on the row."""
    told = "" if alert.told is None else f" The {alert.told.role} was told last."
    word = "alert" if alert.state == "notified" else "escalated"
    return {"kind": "alert", "word": word, "sentence": f"Nobody has acknowledged this alert.{told}"}


def line(entry: alerts.Alert) -> dict[str, Any]:
    """A line of an alert's history."""
    return {
        "at": entry.at,
        "step": entry.step,
        "words": entry.reason,
        "by": entry.by,
        "role": entry.role,
        "channel": entry.channel,
        "round": entry.round,
        "repeat": entry.repeat,
        "key": entry.idempotency_key,
    }
