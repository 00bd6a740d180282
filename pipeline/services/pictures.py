"""The picture stage: images that have arrived in, what the image models say of them out, as events of the same patients.

It stands beside the way of a score, not in it: whatever happens to a picture, laboratory values and orders are ranked without waiting.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog

from pipeline.domain import image_answer, image_heads
from pipeline.domain.image_answer import HeadReference
from pipeline.errors import NotFound, StackError, Unavailable, UnfitPicture
from pipeline.ports import Batch, Clock, EventLog, ImageModel, OffsetStore, Picture, PictureReader, Received, Record
from pipeline.services.batch import Outcome, unapplied
from pipeline.services.breaker import CircuitBreaker
from pipeline.services.picture_watch import Looked
from schemas import codec
from schemas.events import FindingEvent, ImagingEvent
from schemas.findings import ImageAssessment
from schemas.identifiers import event_id
from schemas.topics import FINDINGS

log = structlog.get_logger()

SOURCE = "pictures"
CHUNK = 8
"""Pictures that are read, then looked at together."""
SIZE_MAX = 256 << 20
"""Bytes of an object that is fetched: the largest film of the largest detector is a quarter of it."""
PASSED_OVER_FOR = timedelta(seconds=30)
"""So long a model that did not look is not asked again where another can: a picture's time limit is ten seconds, which would be waited
for again and again while a server hangs."""
LOOKED_KEPT = 2_000
"""Objects whose answer is remembered, for those that are told of again."""

ScorerName = Literal["triton", "onnxruntime"]


@dataclass(frozen=True, slots=True)
class InstalledHead:
    """A head, and those that can be asked to look with it, the first choice first.

    reference: of one of its versions, or of the one that is served now (None). Raises NotFound or StackError.
    """

    reference: Callable[[str | None], HeadReference]
    models: Sequence[tuple[ScorerName, ImageModel]]

    def served(self) -> HeadReference:
        """Of the version in force. Raises Unavailable where that cannot be told."""
        try:
            return self.reference(None)
        except (NotFound, StackError) as error:
            raise Unavailable(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A picture to be looked at, and what is known of the version that is to look."""

    event: ImagingEvent
    trace_id: str
    head: InstalledHead
    reference: HeadReference

    @property
    def uri(self) -> str:
        assert self.event.uri is not None
        return self.event.uri

    @property
    def key(self) -> tuple[str, str, str]:
        """What its answer is remembered by."""
        return self.reference.head, self.reference.version, self.uri


class PictureStage:
    """Handles batches of `imaging`. Counts records: `applied` (looked, refused) and `ignored`, by reason."""

    def __init__(
        self,
        offsets: OffsetStore,
        log: EventLog,
        reader: PictureReader,
        heads: Mapping[str, InstalledHead],
        clock: Clock,
        group: str,
        note: Callable[[Sequence[Looked]], None] = lambda looked: None,
    ) -> None:
        """heads: by name. note: is told of every picture that was looked at or refused."""
        self._offsets = offsets
        self._log = log
        self._reader = reader
        self._heads = heads
        self._clock = clock
        self._group = group
        self._note = note
        self._breakers = {
            (name, scorer): CircuitBreaker(clock) if scorer == head.models[-1][0] else CircuitBreaker(clock, 1, PASSED_OVER_FOR)
            for name, head in heads.items()
            for scorer, _ in head.models
        }
        self._known: OrderedDict[tuple[str, str, str], ImageAssessment] = OrderedDict()
        self.applied: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()

    @property
    def tripped(self) -> list[bool]:
        """For each choice of model, whether it is given up for now by any head."""
        heads = [[self._breakers[name, scorer].tripped for scorer, _ in head.models] for name, head in self._heads.items()]
        return [any(head[choice] for head in heads if choice < len(head)) for choice in range(max(map(len, heads), default=0))]

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Produces a finding for each picture of a head's kind, then notes the applied offsets. Raises Unavailable."""
        async with self._offsets.begin(self._group, [batch.place for batch in batches]) as transaction:
            pending = unapplied(transaction.applied, batches)
            wanted = list(self._wanted(pending.records))
            for start in range(0, len(wanted), CHUNK):
                await self._look(wanted[start : start + CHUNK])
            if pending.fresh:
                await transaction.advance(pending.offsets)
        if wanted:
            log.info("pictures_looked_at", pictures=len(wanted))
        return pending.outcomes

    def _wanted(self, records: Sequence[Received]) -> Iterator[_Wanted]:
        """What cannot be decoded is the context stage's to bury: it reads the same records."""
        served = {name: head.served() for name, head in self._heads.items()}
        scopes = {name: reference.scope for name, reference in served.items() if reference.scope is not None}
        for record in records:
            try:
                event = codec.decode(record.topic, record.body)
            except codec.UndecodableRecord:
                self.ignored["undecodable"] += 1
                continue
            if event.kind != "instance" or event.uri is None:
                self.ignored["no-picture"] += 1
                continue
            name = image_heads.find(scopes, event.modality, event.body_part, event.view)
            if name is None:
                self.ignored["no-head"] += 1
            else:
                yield _Wanted(event, record.headers.get("trace_id", ""), self._heads[name], served[name])

    async def _look(self, wanted: Sequence[_Wanted]) -> None:
        new = {one.key: one for one in wanted if one.key not in self._known}
        pictures: list[tuple[_Wanted, Picture]] = []
        for one in new.values():
            picture = await self._read(one)
            if isinstance(picture, UnfitPicture):
                self._keep(one, image_answer.refused(one.reference, picture.reason, picture.explanation, self._clock.now()))
            else:
                pictures.append((one, picture))
        for name in {one.reference.head for one, _ in pictures}:
            await self._ask(name, [(one, picture) for one, picture in pictures if one.reference.head == name])
        await self._log.append([self._record(one) for one in wanted])
        seen = {one.key: picture for one, picture in pictures}
        self._note([Looked(one.event, seen.get(key), self._answer(one)) for key, one in new.items()])
        self.applied.update("refused" if self._answer(one).refused else "looked" for one in wanted)
        while len(self._known) > LOOKED_KEPT:
            self._known.popitem(last=False)

    async def _read(self, one: _Wanted) -> Picture | UnfitPicture:
        if one.event.size > SIZE_MAX:
            return UnfitPicture("too-large", f"the object has {one.event.size >> 20} MB, more than any film")
        try:
            return await self._reader.read(one.uri, one.reference.side)
        except UnfitPicture as unfit:
            return unfit

    async def _ask(self, head: str, pictures: Sequence[tuple[_Wanted, Picture]]) -> None:
        """The first of the head's models that answers. Raises Unavailable when none does: the pictures come again."""
        installed = pictures[0][0].head
        for name, model in installed.models:
            breaker = self._breakers[head, name]
            if not breaker.allows():
                continue
            try:
                answers = await model.look([picture for _, picture in pictures])
                said = [image_answer.assessed(installed.reference(answer[0]), *answer[1:], name, self._clock.now()) for answer in answers]
            except (Unavailable, ValueError, NotFound, StackError) as error:
                breaker.failed()
                log.warning("image_model_unavailable", scorer=name, pictures=len(pictures), reason=str(error))
                continue
            breaker.succeeded()
            for (one, _), assessment in zip(pictures, said, strict=True):
                self._keep(one, assessment)
            return
        raise Unavailable(f"no image model of {head} answers")

    def _keep(self, one: _Wanted, assessment: ImageAssessment) -> None:
        self._known[one.key] = assessment

    def _answer(self, one: _Wanted) -> ImageAssessment:
        return self._known[one.key]

    def _record(self, one: _Wanted) -> Record:
        """Marked as a possible redelivery: it has the same event id whenever the same picture is looked at by the same version."""
        event, assessment = one.event, self._answer(one)
        identity = event_id(SOURCE, f"{one.uri}|{assessment.head}|{assessment.version}|{event.event_id}")
        found = FindingEvent(
            event_id=identity,
            patient=event.patient,
            subject=event.subject,
            source=SOURCE,
            recorded_at=self._clock.now(),
            study_uid=event.study_uid,
            uri=one.uri,
            image=assessment,
        )
        headers = {"event_id": identity, "trace_id": one.trace_id, "source": SOURCE, "redelivery": "1"}
        return Record(FINDINGS, event.patient.encode(), codec.encode(found), headers)
