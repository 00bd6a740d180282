"""The way of a message through a gateway: known already? vault, Kafka, receipt, and only then the sender's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import Refused
from pipeline.ports import Clock, EventLog, Identity, IdentityVault, Receipt, Receipts, Record
from schemas import codec
from schemas.events import AdtEvent, AnyEvent
from schemas.identifiers import UNMATCHED, event_id
from schemas.time import Timestamp
from schemas.topics import ADT, RECORD_BYTES_MAX, Topic


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

    numbers: pseudonym -> accession or order number, for the vault. links: order or accession pseudonym -> patient.
    """

    origin: Origin
    events: Sequence[tuple[Topic, AnyEvent]]
    identities: Sequence[Identity] = ()
    numbers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


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
        """(outcome, reason or event kind) -> messages, for the metrics."""

    async def accept(self, arrival: Arrival) -> Receipt:
        """Remembers the identities, appends the events, notes the receipt. A message answered before returns its old receipt, unapplied."""
        self._gate()
        state, earlier = await self._receipts.open(arrival.origin.source, arrival.origin.kind, arrival.origin.identity)
        if earlier is not None and earlier.outcome == "accepted":
            self.outcomes["ignored", "duplicate"] += 1
            return earlier
        await self._vault.remember(arrival.identities, arrival.numbers)
        events = [*arrival.events, *await self._claims(arrival)]
        for number, patient in arrival.links.items():
            await self._vault.link(number, patient)
        headers = {"trace_id": arrival.origin.trace_id, "source": arrival.origin.source}
        if state != "new":
            headers["redelivery"] = "1"
        await self._log.append(_records(events, headers))
        return await self._close(arrival.origin, "accepted", None, tuple(event.event_id for _, event in events))

    async def ignore(self, origin: Origin, reason: str) -> Receipt:
        """Notes that the message has no effect, and why."""
        return await self._close(origin, "ignored", reason)

    async def refuse(self, origin: Origin, reason: str) -> Receipt:
        """Notes that the sender is told no, and why."""
        return await self._close(origin, "refused", reason)

    async def _close(self, origin: Origin, outcome: str, reason: str | None, event_ids: tuple[str, ...] = ()) -> Receipt:
        receipt = Receipt(origin.source, origin.kind, origin.identity, outcome, reason, event_ids, self._clock.now())
        await self._receipts.close(receipt)
        self.outcomes[outcome, reason or ""] += 1
        return receipt

    async def _claims(self, arrival: Arrival) -> list[tuple[Topic, AnyEvent]]:
        """Merges for studies that were held as unmatched under a number that now has a patient."""
        merges: list[tuple[Topic, AnyEvent]] = []
        now = self._clock.now()
        for number, patient in arrival.links.items():
            held = await self._vault.patient_of(number)
            if held is None or not held.startswith(UNMATCHED) or patient.startswith(UNMATCHED):
                continue
            merges += [
                (
                    ADT,
                    AdtEvent(
                        event_id=arrival.origin.event_id(f"claim|{number}|{key}"),
                        patient=key,
                        source=arrival.origin.source,
                        recorded_at=now,
                        trigger="A40",
                        occurred=Timestamp(now, zone="received"),
                        kind="merge",
                        retired=held,
                        survivor=patient,
                    ),
                )
                for key in (held, patient)
            ]
        return merges


def _records(events: Sequence[tuple[Topic, AnyEvent]], headers: Mapping[str, str]) -> list[Record]:
    records = []
    for topic, event in events:
        body = codec.encode(event)
        if len(body) > RECORD_BYTES_MAX:
            raise Refused("too-large", f"one message may say {RECORD_BYTES_MAX} bytes of one patient, this says {len(body)}")
        records.append(Record(topic, event.patient.encode(), body, {**headers, "event_id": event.event_id}))
    return records
