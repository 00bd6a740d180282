"""The way of a message through a gateway: known already? vault, Kafka, receipt, and only then the sender's answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from pipeline.domain.measurements import misfit
from pipeline.errors import Refused
from pipeline.ports import Clock, EventLog, Identity, IdentityVault, Receipt, Receipts, Record
from schemas import codec
from schemas.events import AdtEvent, AnyEvent, ObservationEvent
from schemas.identifiers import UNMATCHED, event_id
from schemas.time import Timestamp
from schemas.topics import ADT, RECORD_BYTES_MAX, Topic

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Origin:
    """Which message this is. source: sending application and facility, or AE title. identity: the same when it is sent again."""

    source: str
    kind: str
    identity: str

    def event_id(self, part: str = "") -> str:
        """The id of the event that `part` of this message stands for."""
        return event_id(f"{self.kind}|{self.source}", f"{self.identity}|{part}")

    @property
    def trace_id(self) -> str:
        """32 hex digits, as W3C Trace Context writes a trace id."""
        return self.event_id("trace").replace("-", "")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a gateway understood of one message.

    numbers: pseudonym -> accession or order number, for the vault. links: as IdentityVault.link has them, number -> meaning.
    unmapped: why observations stay outside the catalogue -> how many.
    """

    origin: Origin
    events: Sequence[tuple[Topic, AnyEvent]]
    identities: Sequence[Identity] = ()
    numbers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    unmapped: Mapping[str, int] = field(default_factory=dict)


_IMPOSSIBLE = frozenset({"future-time", "out-of-range"})


def _impossible(events: Iterable[AnyEvent]) -> Iterator[str]:
    """Why, of each such value: a window rebuilt counts again, so it is counted where a value comes in for the first time."""
    for event in events:
        for observation in event.observations if isinstance(event, ObservationEvent) else ():
            if (reason := misfit(observation, event.recorded_at)) in _IMPOSSIBLE:
                yield reason


class Intake:
    """Shared by all gateways. Every method raises Unavailable when a store or Kafka does not answer: the sender must try again.

    `accept` raises Refused("too-large") for an event that no topic takes; the caller notes the refusal.
    """

    def __init__(
        self, log: EventLog, receipts: Receipts, vault: IdentityVault, clock: Clock, gate: Callable[[], None] = lambda: None
    ) -> None:
        """gate: raises Unavailable while nothing may come in."""
        self._log = log
        self._receipts = receipts
        self._vault = vault
        self._clock = clock
        self._gate = gate
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(outcome, reason) -> messages, for the metrics."""
        self.unmapped: Counter[str] = Counter()
        """As in `Arrival`, of all that were accepted; and values that no window takes for a reading, as their time or size cannot be."""
        self._under_way: dict[tuple[str, str, str], asyncio.Event] = {}

    async def accept(self, arrival: Arrival) -> Receipt:
        """Remembers the identities, appends the events, notes the receipt. A message answered before returns its old receipt, unapplied."""
        self._gate()
        async with self._one_at_a_time(arrival.origin):
            return await self._accept(arrival)

    async def _accept(self, arrival: Arrival) -> Receipt:
        state, earlier = await self._receipts.open(arrival.origin.source, arrival.origin.kind, arrival.origin.identity)
        if earlier is not None and earlier.outcome == "accepted":
            self._count(arrival.origin, "ignored", "duplicate")
            return earlier
        await self._vault.remember(arrival.identities, arrival.numbers)
        headers = {"trace_id": arrival.origin.trace_id, "source": arrival.origin.source}
        if state != "new":
            headers["redelivery"] = "1"
        events = await self._append(arrival, headers)
        receipt = await self._close(arrival.origin, "accepted", None, tuple(event.event_id for _, event in events))
        self.unmapped.update(arrival.unmapped)
        self.unmapped.update(_impossible(event for _, event in events))
        return receipt

    @asynccontextmanager
    async def _one_at_a_time(self, origin: Origin) -> AsyncIterator[None]:
        """A message that comes again while it is worked on waits for what becomes of it: its copy could get into Kafka before it."""
        message = (origin.source, origin.kind, origin.identity)
        while (earlier := self._under_way.get(message)) is not None:
            await earlier.wait()
        done = self._under_way[message] = asyncio.Event()
        try:
            yield
        finally:
            del self._under_way[message]
            done.set()

    async def ignore(self, origin: Origin, reason: str) -> Receipt:
        """Notes that the message has no effect, and why."""
        return await self._close(origin, "ignored", reason)

    async def refuse(self, origin: Origin, reason: str) -> Receipt:
        """Notes that the sender is told no, and why."""
        return await self._close(origin, "refused", reason)

    async def _close(self, origin: Origin, outcome: str, reason: str | None, event_ids: tuple[str, ...] = ()) -> Receipt:
        receipt = Receipt(origin.source, origin.kind, origin.identity, outcome, reason, event_ids, self._clock.now())
        await self._receipts.close(receipt)
        self._count(origin, outcome, reason or "", len(event_ids))
        return receipt

    def _count(self, origin: Origin, outcome: str, reason: str, events: int = 0) -> None:
        self.outcomes[outcome, reason] += 1
        log.info("message_answered", outcome=outcome, reason=reason, events=events, traces=[origin.trace_id])

    async def _append(self, arrival: Arrival, headers: Mapping[str, str]) -> list[tuple[Topic, AnyEvent]]:
        """Appends what was understood, and a merge wherever a stand-in meets its patient; only then notes what the numbers mean.

        Where another gateway has noted one of them in between, that one again.
        """
        appended: list[tuple[Topic, AnyEvent]] = []
        events, links = list(arrival.events), dict(arrival.links)
        while True:
            held = await self._vault.linked(links)
            events += self._claims(arrival.origin, links, held)
            await self._log.append(_records(events, headers))
            appended += events
            events = []
            news = {number: said for number, said in links.items() if number not in held or not _stays(held[number], said)}
            links = {number: said for number, said in news.items() if not await self._vault.link(number, said, held.get(number))}
            if not links:
                return appended

    def _claims(self, origin: Origin, links: Mapping[str, str], held: Mapping[str, str]) -> Iterator[tuple[Topic, AnyEvent]]:
        """Merges of stand-ins under a number that has a patient, whichever of the two came first, or that has another stand-in by now."""
        now = self._clock.now()
        for number, said in links.items():
            before = held.get(number, said)
            retired, survivor = (said, before) if _stays(before, said) else (before, said)
            if retired == survivor or not retired.startswith(UNMATCHED):
                continue
            for key in (retired, survivor):
                yield (
                    ADT,
                    AdtEvent(
                        event_id=origin.event_id(f"claim|{number}|{retired}|{key}"),
                        patient=key,
                        source=origin.source,
                        recorded_at=now,
                        trigger="A40",
                        occurred=Timestamp(now, zone="received"),
                        kind="merge",
                        retired=retired,
                        survivor=survivor,
                    ),
                )


def _stays(held: str, said: str) -> bool:
    """A stand-in takes no patient's place."""
    return held == said or (said.startswith(UNMATCHED) and not held.startswith(UNMATCHED))


def _records(events: Sequence[tuple[Topic, AnyEvent]], headers: Mapping[str, str]) -> list[Record]:
    records = []
    for topic, event in events:
        body = codec.encode(event)
        if len(body) > RECORD_BYTES_MAX:
            raise Refused("too-large", f"one message may say {RECORD_BYTES_MAX} bytes of one patient, this says {len(body)}")
        records.append(Record(topic, event.patient.encode(), body, {**headers, "event_id": event.event_id}))
    return records
