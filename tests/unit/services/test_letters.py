"""Dead letters: sent again with a count, purged with a reason, each settled once, and too many of them stop the intake."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.operations import MemoryEnds, MemoryLetters, MemorySettledLetters
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.errors import Conflict, InvalidMessage, NotFound, Unavailable
from pipeline.ports import Received
from pipeline.ports.operations import LetterPlace
from pipeline.services.dead_letters import dead_letter
from pipeline.services.intake import Arrival, Intake, Origin
from pipeline.services.letters import IntakeGate, LetterDesk
from schemas.topics import LABS

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


class Office:
    """A desk over twins."""

    def __init__(self) -> None:
        self.log, self.clock, self.settled = MemoryEventLog(partitions=1), ManualClock(NOON), MemorySettledLetters()
        self.desk = LetterDesk(MemoryLetters(self.log), self.settled, self.log, self.clock)
        self.gate = IntakeGate(MemoryEnds(self.log), self.settled, limit=3)

    async def bury(self, record: Received) -> None:
        """What a stage does with a record it cannot read."""
        await self.log.append([dead_letter(record, "malformed", "not JSON", NOON)])


@pytest.fixture
async def office() -> Office:
    """With one letter."""
    office = Office()
    await office.bury(Received(LABS, 0, 7, b"p1", b"{", {"event_id": "e1", "trace_id": "t1"}))
    return office


FIRST = LetterPlace(0, 0)


async def test_a_letter_is_sent_again_as_it_came(office: Office) -> None:
    """Same topic, key, bytes and ids, marked as a possible redelivery."""
    assert await office.desk.redrive(FIRST, "ann") == "labs"

    (record,) = office.log.records(LABS)
    assert (record.key, record.value) == (b"p1", b"{")
    assert record.headers == {"event_id": "e1", "trace_id": "t1", "redelivery": "1", "redrives": "1"}
    assert await office.desk.list() == []


async def test_one_that_is_still_bad_comes_back_with_a_count(office: Office) -> None:
    """Twice sent, twice returned."""
    for times in (1, 2):
        (waiting,) = await office.desk.list()
        await office.desk.redrive(waiting.place, "ann")
        (*_, again) = office.log.received(LABS, 0)
        await office.bury(again)
        (back,) = await office.desk.list()
        assert back.returned == times


async def test_a_purge_keeps_who_when_and_why(office: Office) -> None:
    """And the letter can still be seen."""
    await office.desk.purge(FIRST, "  a vendor's   test ", "ann")

    assert await office.desk.list() == []
    (held,) = await office.desk.list(with_settled=True)
    assert held.settled is not None
    assert (held.settled.outcome, held.settled.reason, held.settled.by, held.settled.at) == ("purged", "a vendor's test", "ann", NOON)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301])
async def test_a_purge_needs_a_reason(office: Office, reason: str) -> None:
    """Nothing is purged without one."""
    with pytest.raises(InvalidMessage):
        await office.desk.purge(FIRST, reason, "ann")
    assert len(await office.desk.list()) == 1


async def test_the_second_who_acts_is_told(office: Office) -> None:
    """And what they wanted does not happen."""
    await office.desk.purge(FIRST, "test", "ann")
    with pytest.raises(Conflict, match="purged already, by ann"):
        await office.desk.redrive(FIRST, "bob")
    assert office.log.records(LABS) == []


async def test_a_letter_that_could_not_be_sent_waits_on(office: Office) -> None:
    """Kafka away: nothing is noted."""
    office.log.fail_next()
    with pytest.raises(Unavailable):
        await office.desk.redrive(FIRST, "ann")
    assert len(await office.desk.list()) == 1


async def test_there_is_no_such_letter(office: Office) -> None:
    """A place that the topic does not hold."""
    with pytest.raises(NotFound):
        await office.desk.redrive(LetterPlace(0, 99), "ann")


async def test_too_many_letters_stop_the_intake_until_somebody_settles_them(office: Office) -> None:
    """The sender is told to try again; nothing reaches Kafka."""
    intake = Intake(office.log, MemoryReceipts(), MemoryVault(office.clock), office.clock, office.gate.check)
    arrival = Arrival(Origin("LAB", "hl7", "1"), [])
    await office.gate.look()
    await intake.accept(arrival)

    for offset in (8, 9):
        await office.bury(Received(LABS, 0, offset, b"p1", b"{"))
    await office.gate.look()
    with pytest.raises(Unavailable, match="intake is stopped"):
        await intake.accept(Arrival(Origin("LAB", "hl7", "2"), []))

    await office.desk.purge(FIRST, "test", "ann")
    await office.gate.look()
    await intake.accept(Arrival(Origin("LAB", "hl7", "2"), []))


async def test_a_gate_that_cannot_look_stays_as_it_is(office: Office) -> None:
    """Neither opened nor closed by a broker that is away."""
    ends = MemoryEnds(office.log)
    gate = IntakeGate(ends, office.settled, limit=1)
    await gate.look()
    ends.down = True
    await gate.look()
    assert gate.stopped
