"""The operators' page over twins: what it says, and what may be done about dead letters."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest

from pipeline.adapters.memory.event_log import MemoryEventLog, partition_of
from pipeline.adapters.memory.operations import MemoryEnds, MemoryLetters, MemorySettledLetters, MemoryStanding
from pipeline.ports import Received, Record
from pipeline.services.dead_letters import dead_letter
from pipeline.services.letters import LetterDesk
from pipeline.services.monitor import Monitor
from pipeline.worklist.app import create_app
from pipeline.worklist.operations import OperationsApi, thinned
from schemas.topics import LABS
from tests.unit.worklist.web import CHANGE, NOW, Web


class Room(Web):
    """The application with an operators' page; one dead letter waits."""

    def __init__(self) -> None:
        super().__init__()
        self.log, self.settled = MemoryEventLog(), MemorySettledLetters()
        self.ends = MemoryEnds(self.log)
        self.monitor = Monitor(
            MemoryStanding(self.clock, studies={"p1": 2}), self.ends, self.settled, self.clock,
            lambda patient: partition_of(patient.encode(), 8), partitions=8, zone=ZoneInfo("UTC"), letters_limit=10,
        )  # fmt: skip
        desk = LetterDesk(MemoryLetters(self.log), self.settled, self.log, self.clock)
        room = OperationsApi(self.monitor, desk, self.clock)
        self.app = create_app(self.worklist, self.worklist, self.vault, self.clock, time_zone="Europe/Berlin", operations=room)

    def reader(self, name: str | None = "Ann", **headers: str) -> httpx.AsyncClient:
        """Somebody at the page."""
        named = {"X-Readfirst-Reader": quote(name)} if name else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers={**CHANGE, **named, **headers})


@pytest.fixture
async def room() -> Room:
    room = Room()
    await room.log.append([dead_letter(Received(LABS, 0, 7, b"p1", b"Smith^John \xff", {"event_id": "e"}), "malformed", "not JSON", NOW)])
    return room


def place(room: Room) -> str:
    """The letter's address."""
    return f"/api/ops/letters/{partition_of(b'p1', 8)}/0"


async def test_before_the_first_look_there_is_nothing_to_show(room: Room) -> None:
    """503, not an empty calm."""
    async with room.reader() as client:
        assert (await client.get("/api/ops")).status_code == 503


async def test_the_page_says_what_is_amiss_and_whom_it_affects(room: Room) -> None:
    """Sentence, stage, partitions, letters."""
    await room.log.append([Record(LABS, b"p1", b"{}")])
    room.ends.stamp(LABS, partition_of(b"p1", 8), 0, NOW)
    room.clock.time = NOW + timedelta(seconds=95)
    await room.monitor.look()
    async with room.reader(None) as client:
        seen = (await client.get("/api/ops")).json()

    partition = partition_of(b"p1", 8)
    assert seen["conditions"][0]["words"] == f"2 studies of context partition {partition} are ranked on data 95 s old."
    assert seen["conditions"][0]["since"] == NOW.isoformat().replace("+00:00", "Z")
    context = next(stage for stage in seen["stages"] if stage["name"] == "context")
    others = [stage for stage in seen["stages"] if stage is not context]
    assert (context["seconds"], context["records"], context["studies"]) == (95.0, 1, 2)
    assert context["partitions"] == [{"topic": "labs", "partition": partition, "records": 1, "seconds": 95.0, "standstill_s": 0.0}]
    assert [stage["seconds"] for stage in others] == [0.0, 0.0, 0.0, 0.0]
    assert seen["letters"] == {"waiting": 1, "limit": 10}


async def test_a_letters_bytes_are_for_a_named_reader_only(room: Room) -> None:
    """They may hold patient data; the list of letters does not."""
    async with room.reader(None) as client:
        assert (await client.get(place(room))).status_code == 401
        listed = await client.get("/api/ops/letters")
    async with room.reader() as client:
        shown = (await client.get(place(room))).json()

    assert "Smith" not in listed.text
    assert (shown["body"], shown["cut"]) == ("Smith^John \\xff", False)


async def test_acts_need_a_name_and_are_done_once(room: Room) -> None:
    """401 without one; the second is a conflict; a purge wants a reason."""
    async with room.reader(None) as client:
        assert (await client.post(f"{place(room)}/redrive")).status_code == 401
    async with room.reader() as client:
        assert (await client.post(f"{place(room)}/purge", json={"reason": " "})).status_code == 400
        assert (await client.post(f"{place(room)}/purge", json={"reason": 5})).status_code == 400
        assert (await client.post(f"{place(room)}/purge", json={"reason": "a test"})).json() == {"purged": True}
        assert (await client.post(f"{place(room)}/redrive")).status_code == 409
        assert (await client.get("/api/ops/letters")).json() == {"letters": []}
        assert (await client.post("/api/ops/letters/0/99/redrive")).status_code == 404
    (settled,) = room.settled.rows.values()
    assert (settled.by, settled.reason) == ("Ann", "a test")


async def test_sent_again_it_goes_to_its_topic(room: Room) -> None:
    """And off the list."""
    async with room.reader() as client:
        assert (await client.post(f"{place(room)}/redrive")).json() == {"sent_to": "labs"}

    assert len(room.log.records(LABS)) == 1


async def test_without_a_monitor_there_is_no_such_page() -> None:
    """The list stands alone."""
    web = Web()
    async with web.client() as client:
        assert (await client.get("/ops")).status_code == 404


def test_a_thinned_trail_keeps_the_worst() -> None:
    """A short stop does not vanish between two points."""
    trail = [0.0] * 450
    trail[200] = 31.0

    assert len(thinned(trail, 90)) == 90
    assert max(thinned(trail, 90)) == 31.0
    assert thinned([], 90) == []
