"""/ledger: what was saved and who paid, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.ledger import MemoryLedger
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.ports import ItemChange
from pipeline.services.ledger import keep
from pipeline.worklist.app import create_app
from tests.store_fixtures import START, item


@pytest.fixture
def worklist() -> MemoryWorklist:
    """Two studies came a minute apart; the second was due earlier and was reported first."""
    made = MemoryWorklist()
    for uid, ready, read in (("1.1", 0, 40), ("1.2", 1, 10)):
        listed = item(uid, due=60 if uid == "1.1" else 15, target_at=START + timedelta(minutes=60))
        study = replace(listed.study, ready_at=START + timedelta(minutes=ready), closed="reported")
        made.write(ItemChange(replace(listed, study=study, state="closed", ranked_at=START + timedelta(minutes=read)), "reported", "e"))
    return made


async def get(worklist: MemoryWorklist, path: str) -> httpx.Response:
    """With the ledger told at eleven."""
    clock, ledger = ManualClock(datetime(2026, 3, 2, 11, tzinfo=UTC)), MemoryLedger(worklist)
    await keep(ledger, clock, "Europe/Berlin")
    app = create_app(worklist, worklist, MemoryVault(clock), clock, time_zone="Europe/Berlin", ledger=ledger)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return await client.get(path)


async def test_the_day_says_who_gained_and_who_paid(worklist: MemoryWorklist) -> None:
    """The study that was moved up gained what the other lost."""
    page = (await get(worklist, "/ledger")).text

    assert "Mon 02 Mar 2026" in page
    assert "30.0 min sooner" in page
    assert "30.0 min later" in page


async def test_the_same_as_data(worklist: MemoryWorklist) -> None:
    """Stable names."""
    (day,) = (await get(worklist, "/api/ledger")).json()["days"]

    assert (day["day"], day["read"], day["moved_up"]) == ("2026-03-02", 2, 1)
    assert day["first_come"]["moved_up"]["total"] == -day["first_come"]["others"]["total"] == 30.0


async def test_nothing_read_yet() -> None:
    """An empty ledger says so."""
    assert "No study has been reported yet" in (await get(MemoryWorklist(), "/ledger")).text
