"""The picture stage: images that have arrived in, what the image models say of them out, as events of the same patients.

It stands beside the way of a score, not in it: whatever happens to a picture, laboratory values and orders are ranked without waiting.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
AT_ONCE = timedelta(seconds=10)
"""After so long a transaction begins no further picture: what it has is kept, and the next one goes on. Even with a picture and a model
that hang it stays below the minute after which Postgres ends it and the worker starts anew: a backlog would begin again for ever."""
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

    record: Received
    event: ImagingEvent
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
        """Produces findings for pictures of the heads' kinds, as far as time allows, and notes the applied offsets. Raises Unavailable."""
        until = self._clock.now() + AT_ONCE
        async with self._offsets.begin(self._group, [batch.place for batch in batches]) as transaction:
            pending = unapplied(transaction.applied, batches)
            judged = self._judged(pending.records)
            wanted = [one for _, one in judged if isinstance(one, _Wanted)]
            done = 0
            while done < len(wanted) and (done == 0 or self._clock.now() < until):
                done += await self._look(wanted[done : done + CHUNK], until)
            stops = {one.record.place: one.record.offset for one in reversed(wanted[done:])}
            pending = pending.before(stops)
            if pending.fresh:
                await transaction.advance(pending.offsets)
        passed = (why for record, why in judged if isinstance(why, str) and record.offset < stops.get(record.place, record.offset + 1))
        self.ignored.update(passed)
        if wanted:
            log.info("pictures_looked_at", pictures=done, waiting=len(wanted) - done)
        return pending.outcomes

    def _judged(self, records: Sequence[Received]) -> list[tuple[Received, _Wanted | str]]:
        """Each with why it is none of this stage's, or what is to be looked at."""
        served = {name: head.served() for name, head in self._heads.items()}
        scopes = {name: reference.scope for name, reference in served.items() if reference.scope is not None}
        return [(record, self._judge(record, served, scopes)) for record in records]

    def _judge(self, record: Received, served: Mapping[str, HeadReference], scopes: image_heads.Scopes) -> _Wanted | str:
        """What cannot be decoded is the context stage's to bury: it reads the same records."""
        try:
            event = codec.decode(record.topic, record.body)
        except codec.UndecodableRecord:
            return "undecodable"
        if event.kind != "instance" or event.uri is None:
            return "no-picture"
        name = image_heads.find(scopes, event.modality, event.body_part, event.view)
        return _Wanted(record, event, self._heads[name], served[name]) if name is not None else "no-head"

    async def _look(self, wanted: Sequence[_Wanted], until: datetime) -> int:
        """Reads until that time, at least one, and looks at what was read; returns at how many."""
        pictures: dict[tuple[str, str, str], tuple[_Wanted, Picture]] = {}
        read = 0
        new: dict[tuple[str, str, str], _Wanted] = {}
        for one in wanted:
            if read and self._clock.now() >= until:
                break
            read += 1
            if one.key in self._known or one.key in new:
                continue
            new[one.key] = one
            picture = await self._read(one)
            if isinstance(picture, UnfitPicture):
                self._keep(one, image_answer.refused(one.reference, picture.reason, picture.explanation, self._clock.now()))
            else:
                pictures[one.key] = one, picture
        for name in {one.reference.head for one, _ in pictures.values()}:
            await self._ask(name, [(one, picture) for one, picture in pictures.values() if one.reference.head == name])
        looked = wanted[:read]
        await self._log.append([self._record(one) for one in looked])
        self._note([Looked(one.event, pictures[key][1] if key in pictures else None, self._answer(one)) for key, one in new.items()])
        self.applied.update("refused" if self._answer(one).refused else "looked" for one in looked)
        while len(self._known) > LOOKED_KEPT:
            self._known.popitem(last=False)
        return read

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
        headers = {"event_id": identity, "trace_id": one.record.headers.get("trace_id", ""), "source": SOURCE, "redelivery": "1"}
        return Record(FINDINGS, event.patient.encode(), codec.encode(found), headers)
