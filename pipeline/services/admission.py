"""What becomes of each record of some batches: a fact, an ignored record, a dead letter; and which patients change."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.domain import identity
from pipeline.domain.identity import Statement
from pipeline.errors import InvalidMessage
from pipeline.ports import ContextTransaction, Fact, Ignored, Place, Received, Record
from pipeline.services.dead_letters import dead_letter
from schemas import codec
from schemas.dead_letter import Reason
from schemas.events import AdtEvent, AnyEvent, FindingEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent
from schemas.topics import ADT

SOURCE = "context"
"""The `source` header of what this stage produces itself."""

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Between them every span that the domain adds or takes away stays within datetime's own limits."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON writes it; after an even number of backslashes, for otherwise they are the text."""

KINDS: dict[type, str] = {
    ObservationEvent: "observation",
    ImagingEvent: "imaging",
    OrderEvent: "order",
    ReportEvent: "report",
    AdtEvent: "adt",
    FindingEvent: "finding",
}


RECENT = 50_000
"""Events that are remembered at the least: at a thousand a second, for longer than a producer goes on trying."""


class Recent:
    """Events that were applied last, by id and key. An idempotent producer of which one message timed out begins its sequence anew, and
    what else was under way then may stand in the log twice, with no mark to tell the copy by. They stay applied, whoever goes on."""

    def __init__(self) -> None:
        self._young: set[tuple[str, str]] = set()
        self._old: set[tuple[str, str]] = set()

    def __contains__(self, one: tuple[str, str]) -> bool:
        return one in self._young or one in self._old

    def update(self, applied: Iterable[tuple[str, str]]) -> None:
        """They have been applied, for good."""
        self._young.update(applied)
        if len(self._young) > RECENT:
            self._old, self._young = self._young, set()


@dataclass(slots=True)
class Admitted:
    """touched: patient -> the new events of that patient, in order.

    identified: patients of whom a merge or unmerge was told -> whether they live on under their own name.
    causes: patient -> the last record. taken: those that were no copies, by id and key.
    """

    facts: list[Fact] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    produced: list[Record] = field(default_factory=list)
    dead: Counter[str] = field(default_factory=Counter)
    touched: defaultdict[str, list[AnyEvent]] = field(default_factory=lambda: defaultdict(list))
    identified: dict[str, bool] = field(default_factory=dict)
    causes: dict[str, Received] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)


class Admission:
    """The records of one transaction on their way in."""

    def __init__(self, transaction: ContextTransaction, now: datetime, recent: Recent) -> None:
        self._transaction = transaction
        self._now = now
        self._recent = recent
        self.result = Admitted()

    async def take(self, records: Sequence[Received], suspects: Collection[Place]) -> Admitted:
        """suspects: where records may have taken effect partly before (produced, not committed), so all are checked."""
        decoded = await self._new(self._decoded(records), suspects)
        told = [(record, event) for record, event in decoded if identity.is_statement(event)]
        await self._identify(told)
        plain = [(record, event) for record, event in decoded if not identity.is_statement(event)] if told else decoded
        survivors = await self._transaction.survivors(list({event.subject or event.patient for _, event in plain}))
        for record, event in plain:
            self._place(record, event, survivors)
        return self.result

    def _decoded(self, records: Iterable[Received]) -> list[tuple[Received, AnyEvent]]:
        decoded = []
        for record in records:
            try:
                event = codec.decode(record.topic, record.body)
            except codec.UndecodableRecord as error:
                self._bury(record, error.reason, error.explanation)
                continue
            if record.key != event.patient.encode():
                self._bury(record, "wrong-key", "the record's key is not the document's patient")
            elif not EARLIEST <= event.recorded_at <= LATEST:
                self._bury(record, "invalid", "recorded_at is in no year that this program can reckon with")
            elif b"\\" in record.body and _NUL.search(record.body):
                self._bury(record, "undecodable-text", "a NUL stands in a text; Postgres reads none, and with it no list that it is in")
            else:
                decoded.append((record, event))
        return decoded

    async def _new(self, decoded: list[tuple[Received, AnyEvent]], suspects: Collection[Place]) -> list[tuple[Received, AnyEvent]]:
        """Without what has been applied before."""
        ids = [event.event_id for record, event in decoded if "redelivery" in record.headers or (suspects and record.place in suspects)]
        asked, known, seen = set(ids), await self._transaction.known_events(ids) if ids else (), set[str]()
        taken, new = self.result.taken, []
        for record, event in decoded:
            told, one = _told(record), (event.event_id, event.patient)
            # Of those that are asked for, one that did not become a fact, a dead letter driven again, may become one now.
            was_asked = event.event_id in asked
            again = (event.event_id in known or event.event_id in seen) if was_asked else (one in taken or one in self._recent)
            if again and not told:
                self._ignore(record, event, "duplicate")
                continue
            new.append((record, event))
            if not told:
                seen.add(event.event_id)
                taken.add(one)
        return new

    def _place(self, record: Received, event: AnyEvent, survivors: Mapping[str, str]) -> None:
        named = event.subject or event.patient
        home = survivors.get(named, named)
        if home == event.patient:
            self._keep(record, event)
            self.result.touched[home].append(event)
        else:
            self._forward(record, event, home)
            self._ignore(record, event, "forwarded")

    async def _identify(self, told: list[tuple[Received, AdtEvent]]) -> None:
        """Merges and unmerges, one after the other, with all patients concerned locked first."""
        readable = [(record, event, statement) for record, event in told if (statement := self._readable(record, event))]
        if not readable:
            return
        await self._transaction.lock_patients(sorted(set().union(*(statement.named for _, _, statement in readable))))
        changed = {event.patient for record, event, statement in readable if await self._state(record, event, statement)}
        retired = (await self._transaction.survivors(sorted(changed))).keys()
        self.result.identified = {patient: patient not in retired for patient in sorted(changed)}

    def _readable(self, record: Received, event: AdtEvent) -> Statement | None:
        statement = identity.statement(event)
        if statement is None:
            self._bury(record, "invalid", "a merge needs both patients, an unmerge the one that parts")
        elif statement.empty:
            self._ignore(record, event, "self-merge")
            return None
        return statement

    async def _state(self, record: Received, event: AdtEvent, statement: Statement) -> bool:
        """Puts the statement down and tells everybody concerned who has not been told by the sender. False: it is refused."""
        transaction, key = self._transaction, event.patient
        self.result.causes[key] = record
        before = await transaction.survivors([statement.retired])
        try:
            await transaction.set_survivor(
                statement.retired, None if statement.parted else statement.survivor, event.recorded_at, event.event_id
            )
        except InvalidMessage as error:
            self._bury(record, "merge-cycle", error.explanation)
            return False
        if _told(record):
            self._ignore(record, event, "merge-told")
            return True
        after = await transaction.survivors(sorted(statement.named))
        concerned = {*statement.named, *before.values(), *after.values()} - {key}
        self.result.produced += [_telling(record, event, patient) for patient in sorted(concerned)]
        self._keep(record, event)
        return True

    def _keep(self, record: Received, event: AnyEvent) -> None:
        topic, partition, offset, _, body, _ = record
        self.result.causes[event.patient] = record
        named, kind = event.subject or event.patient, KINDS[type(event)]
        self.result.facts.append(Fact(named, event.event_id, kind, event.recorded_at, topic.name, partition, offset, body))

    def _ignore(self, record: Received, event: AnyEvent, reason: str) -> None:
        self.result.ignored.append(Ignored(event.event_id, reason, record.topic.name, record.partition, record.offset))

    def _forward(self, record: Received, event: AnyEvent, patient: str) -> None:
        """To the patient it belongs to now. It may come there twice, should this batch have to be read again."""
        headers = {**record.headers, "event_id": event.event_id, "redelivery": "1"}
        body = identity.readdress(record.body, patient, event.named_patient)
        self.result.produced.append(Record(record.topic, patient.encode(), body, headers))

    def _bury(self, record: Received, reason: Reason, explanation: str) -> None:
        self.result.dead[reason] += 1
        self.result.produced.append(dead_letter(record, reason, explanation, self._now))


def _told(record: Received) -> bool:
    """Whether this stage itself sent the record, to tell a patient's owner of a merge."""
    return record.topic is ADT and record.headers.get("source") == SOURCE


def _telling(record: Received, event: AdtEvent, patient: str) -> Record:
    headers = {**record.headers, "event_id": event.event_id, "source": SOURCE, "redelivery": "1"}
    return Record(ADT, patient.encode(), identity.readdress(record.body, patient, patient), headers)
