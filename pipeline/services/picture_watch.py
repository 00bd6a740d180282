"""What is noted beside looking at pictures and never holds it up: what they were and what was said, and a candidate's view of the same."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from pipeline.domain import drift, image_drift
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.shadow import ShadowScore
from pipeline.errors import StackError, Unavailable
from pipeline.ports import ImageModel, Picture, ShadowScores
from pipeline.services.drift_tally import DriftTally
from schemas.events import ImagingEvent
from schemas.findings import ImageAssessment

log = structlog.get_logger()

WAITING_MAX = 200
"""Pictures that wait for a candidate (50 kB each); beyond it the oldest are left out, and counted."""
CHUNK = 8


class Looked(NamedTuple):
    """A picture (None: it could not be read) with what the served version said of it."""

    event: ImagingEvent
    picture: Picture | None
    said: ImageAssessment


class Candidate(NamedTuple):
    """The version of a head that looks on."""

    reference: HeadReference
    model: ImageModel


class PictureWatch:
    """`note` is called with what a head has looked at; `look` and `flush` do the rest. `left_out` counts what no candidate saw."""

    def __init__(self, candidate: Callable[[str], Candidate | None], scores: ShadowScores, tallies: Mapping[str, DriftTally]) -> None:
        """candidate: of a head, if one looks on at present; raises StackError. tallies: by head."""
        self._candidate = candidate
        self._scores = scores
        self.tallies = tallies
        self._waiting: deque[Looked] = deque()
        self._told: dict[str, str] = {}
        self.left_out = 0

    def note(self, looked: Sequence[Looked]) -> None:
        """Costs nothing that waits, and raises nothing."""
        for one in looked:
            event, said = one.event, one.said
            values = image_drift.observed(event.view, event.modality, said)
            self.tallies[said.head].note(served_as(said.head, said.version), partial(drift.placed, values=values))
            if one.picture is not None and said.findings:
                self._waiting.append(one)
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self.left_out += 1

    async def look(self) -> None:
        """Lets the candidates look at what waits; of a head of which it is not known who looks on, nobody does."""
        candidates = {head: self._looking_on(head) for head in self.tallies}
        while self._waiting:
            first = self._waiting.popleft()
            head, part = first.said.head, [first]
            while self._waiting and self._waiting[0].said.head == head and len(part) < CHUNK:
                part.append(self._waiting.popleft())
            if (candidate := candidates[head]) is not None:
                await self._compared(candidate, part)

    def _looking_on(self, head: str) -> Candidate | None:
        try:
            found = self._candidate(head)
        except StackError as error:
            if self._told.get(head) != str(error):
                log.warning("shadow_cannot_look", head=head, reason=str(error))
            self._told[head] = str(error)
            return None
        self._told.pop(head, None)
        return found

    async def _compared(self, candidate: Candidate, part: Sequence[Looked]) -> None:
        try:
            answers = await candidate.model.look([one.picture for one in part if one.picture is not None])
            told = [score for one, answer in zip(part, answers, strict=True) for score in _scores(one, candidate.reference, answer[1])]
            await self._scores.add(told)
        except Unavailable as error:
            self.left_out += len(part)
            log.warning("shadow_left_out", pictures=len(part), reason=str(error))

    async def flush(self) -> None:
        """As DriftTally.flush, of each head."""
        for tally in self.tallies.values():
            await tally.flush()


def served_as(head: str, version: str) -> str:
    """The name under which a head's version is counted and compared, beside the clinical model's plain numbers."""
    return f"{head}/{version}"


def _scores(one: Looked, reference: HeadReference, chances: Sequence[float]) -> list[ShadowScore]:
    """Of each finding that both answer for. A picture has no version of a window: a number made of its address stands there."""
    number = int.from_bytes(hashlib.sha256((one.event.uri or "").encode()).digest()[:7])
    said, theirs = one.said, {finding.code: chance for finding, chance in zip(reference.findings, chances, strict=True)}
    before, after = served_as(said.head, said.version), served_as(said.head, reference.version)
    return [
        ShadowScore(
            one.event.patient, number, said.at, f"{before} {here.code}", here.probability, f"{after} {here.code}", theirs[here.code]
        )
        for here in said.findings
        if here.code in theirs
    ]
