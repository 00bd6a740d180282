"""The contract of Receipts, held by the memory twin and by Postgres."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.ports import Receipt, Receipts
from tests.store_fixtures import START, event_id


@pytest.fixture(params=["memory", "postgres"])
def receipts(request: pytest.FixtureRequest) -> Receipts:
    """Empty."""
    return MemoryReceipts() if request.param == "memory" else PostgresReceipts(request.getfixturevalue("database"))


def receipt(outcome: str = "accepted", reason: str | None = None, *events: int) -> Receipt:
    """For message 1 of the laboratory."""
    return Receipt("lis", "hl7", "1", outcome, reason, tuple(event_id(number) for number in events), START)


async def test_new_pending_done(receipts: Receipts) -> None:
    """A message is new once, pending until its outcome is noted, then done with that receipt."""
    assert await receipts.open("lis", "hl7", "1") == ("new", None)
    assert await receipts.open("lis", "hl7", "1") == ("pending", None)
    await receipts.close(receipt("accepted", None, 1, 2))
    assert await receipts.open("lis", "hl7", "1") == ("done", receipt("accepted", None, 1, 2))


async def test_each_source_and_kind_counts_for_itself(receipts: Receipts) -> None:
    """Control ids are unique for their sender only."""
    await receipts.open("lis", "hl7", "1")
    for key in (("ris", "hl7", "1"), ("lis", "fhir", "1"), ("lis", "hl7", "2"), ("l\0is", "hl7", "1\0")):
        assert await receipts.open(*key) == ("new", None)


async def test_any_text_is_a_message(receipts: Receipts) -> None:
    """A control id or sender of absurd length is remembered too."""
    for long in ("9" * 100_000, "9" * 100_001):
        assert await receipts.open(long, "hl7", long) == ("new", None)
        assert await receipts.open(long, "hl7", long) == ("pending", None)


async def test_of_many_at_once_one_is_new(receipts: Receipts) -> None:
    """The same message on several connections."""
    states = await asyncio.gather(*(receipts.open("lis", "hl7", "1") for _ in range(20)))

    assert sorted(state for state, _ in states) == ["new", *["pending"] * 19]


async def test_a_refused_message_may_be_accepted_later(receipts: Receipts) -> None:
    """And what was accepted stays accepted. A receipt needs no opening."""
    await receipts.close(receipt("refused", "invalid"))
    assert (await receipts.open("lis", "hl7", "1")) == ("done", receipt("refused", "invalid"))
    await receipts.close(receipt("accepted", None, 7))
    await receipts.close(receipt("refused", "invalid"))
    assert (await receipts.open("lis", "hl7", "1")) == ("done", receipt("accepted", None, 7))
