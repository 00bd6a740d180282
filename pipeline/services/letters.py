"""What people do about dead letters: look, send again, purge with a reason; and the gate that stops the intake when too many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Literal

import structlog

from pipeline.errors import Conflict, InvalidMessage, NotFound, Unavailable
from pipeline.ports import Clock, EventLog, Place, Record
from pipeline.ports.operations import HeldLetter, LetterPlace, LetterTopic, LogEnds, Settled, SettledLetters
from schemas.dead_letter import DeadLetter
from schemas.topics import BY_NAME, DLQ

log = structlog.get_logger()
LOOK_EVERY_S = 2.0
REASON_MAX = 300


class LetterDesk:
    """Every act is noted with who, when and why; of two people who act on one letter the second is told."""

    def __init__(self, topic: LetterTopic, settled: SettledLetters, log: EventLog, clock: Clock) -> None:
        self._topic = topic
        self._settled = settled
        self._log = log
        self._clock = clock

    async def list(self, limit: int = 100, *, with_settled: bool = False) -> list[HeldLetter]:
        """Newest first; those settled only where asked for. Raises Unavailable."""
        settled = await self._settled.all()
        letters = [HeldLetter(place, letter, settled.get(place)) for place, letter in await self._topic.read()]
        wanted = [held for held in letters if with_settled or held.settled is None]
        return sorted(wanted, key=lambda held: held.letter.recorded_at, reverse=True)[:limit]

    async def get(self, place: LetterPlace) -> HeldLetter:
        """Raises NotFound, Unavailable."""
        return HeldLetter(place, await self._topic.get(place), (await self._settled.all()).get(place))

    async def redrive(self, place: LetterPlace, by: str) -> str:
        """Sends the record to its topic again, marked as a possible redelivery; returns the topic's name. One that is still bad comes back
        as a new letter that says how often. Raises NotFound, Conflict, Unavailable."""
        held = await self.get(place)
        _refuse_settled(held)
        record = resend(held.letter, held.returned + 1)
        # Sent before it is noted: sent twice has no second effect, noted and not sent would be lost.
        await self._log.append([record])
        await self._settle(held, "redriven", f"sent to {record.topic.name} again", by)
        return record.topic.name

    async def purge(self, place: LetterPlace, reason: str, by: str) -> None:
        """Takes a letter off the desk for good; its bytes stay on the topic until retention. Raises InvalidMessage without a reason."""
        words = " ".join(reason.split())
        if not 0 < len(words) <= REASON_MAX:
            raise InvalidMessage("invalid", f"a purge needs a reason of 1 to {REASON_MAX} letters")
        held = await self.get(place)
        _refuse_settled(held)
        await self._settle(held, "purged", words, by)

    async def _settle(self, held: HeldLetter, outcome: Literal["redriven", "purged"], reason: str, by: str) -> None:
        if not await self._settled.settle(Settled(held.place, outcome, reason, by, self._clock.now())):
            raise Conflict(f"somebody else has just settled the dead letter {held.place}")
        log.info("dead_letter_settled", outcome=outcome, partition=held.place.partition, offset=held.place.offset)


def _refuse_settled(held: HeldLetter) -> None:
    if held.settled is not None:
        raise Conflict(f"the dead letter {held.place} has been {held.settled.outcome} already, by {held.settled.by}")


def resend(letter: DeadLetter, times: int) -> Record:
    """The record as it first came. Raises NotFound where it came from no topic of ours."""
    topic = BY_NAME.get(letter.topic)
    if topic is None:
        raise NotFound(f"the dead letter came from {letter.topic!r}, which is no topic")
    return Record(topic, (letter.key or "").encode(), letter.body, {**letter.headers, "redelivery": "1", "redrives": str(times)})


def unsettled(ends: Mapping[Place, tuple[int, int]], settled: Collection[LetterPlace]) -> int:
    """How many letters wait for somebody, from the topic's ends alone."""
    held = {place.partition: span for place, span in ends.items() if place.topic == DLQ.name}
    done = sum(1 for place in settled if place.partition in held and held[place.partition][0] <= place.offset < held[place.partition][1])
    return sum(end - begin for begin, end in held.values()) - done


class IntakeGate:
    """Closed while too many dead letters wait: a bad release must not turn a whole day into letters while senders believe it was taken."""

    def __init__(self, ends: LogEnds, settled: SettledLetters, limit: int) -> None:
        self._ends = ends
        self._settled = settled
        self._limit = limit
        self.stopped = False

    def check(self) -> None:
        """Raises Unavailable while the gate is closed: the sender keeps its message and tries again."""
        if self.stopped:
            raise Unavailable(f"the intake is stopped: {self._limit} dead letters wait for somebody")

    async def look(self) -> None:
        """A store that does not answer leaves the gate as it is: the intake itself will find that out."""
        try:
            waiting = unsettled(await self._ends.ends([DLQ]), (await self._settled.all()).keys())
        except Unavailable:
            return
        if (waiting >= self._limit) != self.stopped:
            self.stopped = waiting >= self._limit
            log.error("intake_stopped", dead_letters=waiting) if self.stopped else log.info("intake_goes_on", dead_letters=waiting)

    async def watch(self) -> None:
        """Looks every two seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)
