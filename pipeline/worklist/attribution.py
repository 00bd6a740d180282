"""The JSON API for how much single readings moved a study's risk; worked out for whoever asks, and told without names."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.domain.attribution import Effect
from pipeline.domain.catalogue import BY_NAME
from pipeline.ports import Clock
from pipeline.services.attribution import WORDS, Attribution, RiskAttribution
from pipeline.worklist.timeline import plain_unit


class AttributionApi:
    """As open as the timeline: values under a pseudonym."""

    def __init__(self, attribution: RiskAttribution, clock: Clock) -> None:
        self._attribution = attribution
        self._clock = clock

    def routes(self) -> list[Route]:
        """Below a study."""
        return [Route("/api/worklist/{study_uid}/readings", self.readings)]

    async def readings(self, request: Request) -> Response:
        """Each reading of the observables that moved the risk, strongest first, with the change of the probability; or `why_not`.

        429 where too many ask, or the film is not read again yet.
        """
        found = await self._attribution.of_study(request.path_params["study_uid"])
        if found.why_not in ("busy", "film-late"):
            raise HTTPException(429, WORDS[found.why_not], {"Retry-After": "2"})
        body = told(found)
        headers = {"x-readfirst-now": self._clock.now().isoformat(), "cache-control": "private, no-cache"}
        return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)


def told(found: Attribution) -> dict[str, Any]:
    """As the page and `readfirst explain --readings --json` have it; why_not in words, null where the readings are told."""
    return {
        "why_not": found.why_not and WORDS[found.why_not],
        "probability": found.probability,
        "model_version": found.model_version,
        "as_of": found.as_of,
        "newer": found.newer,
        "film": found.film,
        "readings": [_reading(effect) for effect in found.effects],
    }


def _reading(effect: Effect) -> dict[str, Any]:
    kind = BY_NAME[effect.observable]
    return {
        "code": effect.observable,
        "label": kind.label,
        "unit": plain_unit(kind.unit),
        "change": effect.change,
        "value": effect.value,
        "at": effect.at,
        "when": effect.when,
        "source": effect.source,
        "older": {"count": effect.older, "low": effect.low, "high": effect.high, "since": effect.since} if effect.older else None,
    }
