"""The JSON API for a study's pictures as image models see them: what was said of each and where in it, and what readers say to that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.domain.feedback import Feedback, Verdict, newest
from pipeline.domain.imaging import rejected_pictures, without_maps
from pipeline.domain.site import Policy
from pipeline.ports import Clock, FeedbackStore, ListedItem, WorklistReader
from pipeline.worklist import presentation, readers
from schemas.assessments import StudyState
from schemas.events import FindingEvent
from schemas.topics import FINDINGS, IMAGING

EVENTS_MAX = 5_000
"""Of a patient whose images were rejected, to tell which those were."""
LONGEST = 120
"""Letters of a reader's correction."""


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    picture: str
    finding: str
    verdict: Verdict
    instead: str | None = None


class PicturesApi:
    """Reads from the facts; without a store for feedback there is none."""

    def __init__(self, reader: WorklistReader, feedback: FeedbackStore | None, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._reader = reader
        self._feedback = feedback
        self._clock = clock
        self._policy = policy

    def routes(self) -> list[Route]:
        """Below a study."""
        study = "/api/worklist/{study_uid}"
        told = [Route(f"{study}/pictures", self.pictures)]
        return told if self._feedback is None else [*told, Route(f"{study}/feedback", self.say, methods=["POST"])]

    async def pictures(self, request: Request) -> Response:
        """Every picture that a model was shown, newest first, each finding with its map and what readers said of it.

        `stands`: the one that the study is ranked by. `rejected`: it counts no more.
        """
        return await self._answer(await self._reader.get(request.path_params["study_uid"]))

    async def say(self, request: Request) -> Response:
        """{"picture", "finding", "verdict": agree, disagree or corrected, "instead": what it shows}. Answers as `pictures`."""
        assert self._feedback is not None
        reader, said = readers.required_reader(request), await _body(request)
        listed = await self._reader.get(request.path_params["study_uid"])
        event = next((one for one in await self._seen(listed) if instance(one.uri) == said.picture), None)
        found = next((one for one in event.image.findings if one.code == said.finding), None) if event else None
        if event is None or found is None:
            raise HTTPException(400, "No image model has told that finding of that picture.")
        instead = " ".join((said.instead or "").split()) or None
        if (said.verdict == "corrected") != (instead is not None) or len(instead or "") > LONGEST:
            raise HTTPException(400, f"A correction, and nothing else, says in up to {LONGEST} letters what the picture shows instead.")
        study, image = listed.item.study.study_uid, event.image
        await self._feedback.add(
            Feedback(
                study,
                said.picture,
                said.finding,
                said.verdict,
                reader,
                self._clock.now(),
                image.head,
                image.version,
                found.probability,
                instead,
            )
        )
        return await self._answer(listed)

    async def _answer(self, listed: ListedItem) -> Response:
        study, policy = listed.item.study, self._policy()
        said = [] if self._feedback is None else newest(await self._feedback.of_study(study.study_uid))
        rejected = await self._rejected(listed)
        pictures = [{**_told(one, study, policy, said), "rejected": one.uri in rejected} for one in await self._seen(listed)]
        body = {"feedback": self._feedback is not None, "pictures": pictures}
        headers = {"x-readfirst-now": self._clock.now().isoformat(), "cache-control": "private, no-cache"}
        return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)

    async def _rejected(self, listed: ListedItem) -> frozenset[str]:
        if not listed.item.study.rejected:
            return frozenset()
        return rejected_pictures(await self._reader.patient_events(listed.item.patient, EVENTS_MAX, [IMAGING.name]))

    async def _seen(self, listed: ListedItem) -> list[FindingEvent]:
        """The newest word on each picture of the study, newest first."""
        events = await self._reader.patient_events(listed.item.patient, topics=[FINDINGS.name])
        of_study = [one for one in events if isinstance(one, FindingEvent) and one.study_uid == listed.item.study.study_uid]
        return _last({one.uri: one for one in reversed(of_study)}.values())


def _last(events: Iterable[FindingEvent]) -> list[FindingEvent]:
    return sorted(events, key=lambda event: event.recorded_at, reverse=True)


def _told(event: FindingEvent, study: StudyState, policy: Policy, said: Sequence[Feedback]) -> dict[str, Any]:
    picture, told = instance(event.uri), presentation.image(event.image, policy)
    for finding in told["findings"]:
        words = [one for one in said if (one.picture, one.finding) == (picture, finding["code"])]
        finding["said"] = [{"reader": one.reader, "verdict": one.verdict, "instead": one.instead, "at": one.at} for one in words]
    return {"picture": picture, "stands": without_maps(event.image) == study.image, **told}


def instance(uri: str) -> str:
    """The picture's SOP Instance UID: the last part of its claim check."""
    return uri.rsplit("/", 1)[-1].removesuffix(".dcm")


async def _body(request: Request) -> _Said:
    try:
        return msgspec.json.decode(await request.body(), type=_Said)
    except msgspec.DecodeError as error:
        raise HTTPException(400, f"The body cannot be read: {error}.") from error
