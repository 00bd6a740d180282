"""/ops: how the pipeline stands, in words and figures, and what an operator does about dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from pipeline.domain.stages import age_in_words
from pipeline.errors import InvalidMessage
from pipeline.ports import Clock
from pipeline.ports.operations import HeldLetter, LetterPlace
from pipeline.services.conditions import Operations, StageStanding
from pipeline.services.letters import LetterDesk
from pipeline.services.monitor import LOOK_EVERY_S, Monitor
from pipeline.services.sources import SourceStanding
from pipeline.worklist import readers

TRAIL_POINTS = 90
BODY_SHOWN = 4_000
"""Bytes of a dead letter that the page shows."""
LETTERS_SHOWN = 200


class OperationsApi:
    """Everybody may look: nothing here names a patient, but a letter's bytes may, so those and all acts need a named reader."""

    def __init__(self, monitor: Monitor, letters: LetterDesk, clock: Clock) -> None:
        self._monitor = monitor
        self._letters = letters
        self._clock = clock
        self._templates = Jinja2Templates(Path(__file__).parent / "templates")

    def routes(self, time_zone: str) -> list[Route]:
        """The page and its data."""

        async def page(request: Request) -> Response:
            return self._templates.TemplateResponse(request, "ops.html", {"time_zone": time_zone})

        letter = "/api/ops/letters/{partition:int}/{offset:int}"
        return [
            Route("/ops", page),
            Route("/api/ops", self.standing),
            Route("/api/ops/letters", self.letters),
            Route(letter, self.letter),
            Route(f"{letter}/redrive", self.redrive, methods=["POST"]),
            Route(f"{letter}/purge", self.purge, methods=["POST"]),
        ]

    async def standing(self, request: Request) -> Response:
        """The last look; 503 before the first."""
        seen = self._monitor.now
        if seen is None:
            raise HTTPException(503, "Nothing has been looked at yet.")
        return self._json(document(seen, self._monitor))

    async def letters(self, request: Request) -> Response:
        """Those that wait, newest first."""
        return self._json({"letters": [letter_row(held) for held in await self._letters.list(LETTERS_SHOWN)]})

    async def letter(self, request: Request) -> Response:
        """One with its bytes, for a named reader."""
        readers.required_reader(request)
        held = await self._letters.get(_place(request))
        body = held.letter.body[:BODY_SHOWN].decode("utf-8", "backslashreplace")
        return self._json({**letter_row(held), "body": body, "cut": len(held.letter.body) > BODY_SHOWN})

    async def redrive(self, request: Request) -> Response:
        """Sends it again."""
        topic = await self._letters.redrive(_place(request), readers.required_reader(request))
        return self._json({"sent_to": topic})

    async def purge(self, request: Request) -> Response:
        """Takes it off the desk, with the body's `reason`."""
        reader = readers.required_reader(request)
        await self._letters.purge(_place(request), await _reason(request), reader)
        return self._json({"purged": True})

    def _json(self, body: Any) -> Response:
        response = Response(msgspec.json.encode(body), media_type="application/json")
        response.headers["x-readfirst-now"] = self._clock.now().isoformat()
        return response


def document(seen: Operations, monitor: Monitor) -> dict[str, Any]:
    """What the page and `readfirst lag --json` show. Seconds; times UTC; a trail is oldest first, the worst of each interval."""
    return {
        "at": seen.at,
        "good_at": seen.good_at,
        "up": seen.up,
        "conditions": [msgspec.to_builtins(condition) for condition in monitor.conditions],
        "stages": [stage(each, list(monitor.trails[each.stage.name])) for each in seen.stages],
        "trail_s": LOOK_EVERY_S,
        "list": {
            "open": seen.figures.open,
            "overdue": seen.figures.overdue,
            "degraded": seen.figures.degraded,
            "provisional": seen.figures.provisional,
            "unmatched": seen.figures.unmatched,
            "oldest_ready_at": seen.figures.oldest_ready_at,
        },
        "sources": [source(each) for each in seen.sources],
        "letters": {"waiting": seen.letters, "limit": seen.letters_limit},
        "clock_offset_s": round(seen.clock_offset_s, 3),
    }


def stage(standing: StageStanding, trail: list[float]) -> dict[str, Any]:
    """A stage with those of its partitions that have something waiting."""
    lags = sorted((lag for lag in standing.lags if lag.records), key=lambda lag: -lag.seconds)
    return {
        "name": standing.stage.name,
        "topics": [topic.name for topic in standing.stage.topics],
        "seconds": round(standing.seconds, 1),
        "records": standing.records,
        "standing_still": standing.standing_still,
        "studies": standing.studies,
        "sentence": standing.sentence,
        "partitions": [
            {
                "topic": lag.topic,
                "partition": lag.partition,
                "records": lag.records,
                "seconds": round(lag.seconds, 1),
                "standstill_s": round(lag.standstill_s, 1),
            }
            for lag in lags
        ],
        "trail": thinned(trail, TRAIL_POINTS),
    }


def source(standing: SourceStanding) -> dict[str, Any]:
    """A source, its last 24 hours, and the judgement on its silence."""
    silence = standing.silence
    state = "silent" if silence.silent else "learning" if silence.learning else "usual"
    words = {
        "silent": f"silent for {age_in_words(silence.seconds)}: about {silence.missed:.0f} messages are missing",
        "learning": "its rhythm is being learned",
        "usual": "as usual at this hour",
    }[state]
    return {"name": standing.source, "last": standing.last, "state": state, "words": words, "hourly": standing.hourly}


def letter_row(held: HeldLetter) -> dict[str, Any]:
    """A dead letter without its bytes."""
    letter = held.letter
    return {
        "partition": held.place.partition,
        "offset": held.place.offset,
        "reason": letter.reason,
        "explanation": letter.explanation,
        "from": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "recorded_at": letter.recorded_at,
        "bytes": len(letter.body),
        "returned": held.returned,
    }


def thinned(trail: list[float], points: int) -> list[float]:
    """At most so many points, each the worst of its interval: a short stop must not vanish."""
    step = -(-len(trail) // points) or 1
    return [round(max(trail[start : start + step]), 1) for start in range(0, len(trail), step)]


def _place(request: Request) -> LetterPlace:
    return LetterPlace(request.path_params["partition"], request.path_params["offset"])


async def _reason(request: Request) -> str:
    try:
        return str(msgspec.json.decode(await request.body(), type=dict[str, str]).get("reason", ""))
    except msgspec.DecodeError as error:
        raise InvalidMessage("invalid", 'the body is JSON: {"reason": "…"}') from error
