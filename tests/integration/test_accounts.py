"""The accounts of a run: sent is the sum of the columns, also where a sender did not get its answer and asked again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from pydantic import SecretStr

from pipeline.adapters.postgres.receipts import PostgresReceipts
from pipeline.ports import Receipt
from pipeline.settings import Postgres, Settings
from pipeline.simulation.accounts import Accounts
from tests.store_fixtures import START


@dataclass
class Sent:
    """One message of the laboratory."""

    retried: int
    sent: Counter[str] = field(default_factory=lambda: Counter({"lab": 1}))


@pytest.mark.parametrize(("retried", "duplicates", "unaccounted"), [(1, 0, 0), (0, 1, 1)])
async def test_a_message_that_came_twice(migrated: Callable[[], str], retried: int, duplicates: int, unaccounted: int) -> None:
    """What was sent again for want of an answer is none of its own; a surplus that nobody sent is a fault."""
    settings = Settings(postgres=Postgres(dsn=SecretStr(migrated())))
    async with Accounts(settings, START - timedelta(minutes=1)) as accounts:
        receipts = PostgresReceipts(accounts.database)
        await receipts.open("lis", "hl7", "1")
        await receipts.close(Receipt("lis", "hl7", "1", "accepted", None, (), START))
        await receipts.open("lis", "hl7", "1")
        found = await accounts.summary(Sent(retried), [])

    assert (found["applied"], found["ignored"].get("duplicate", 0), found["unaccounted"]) == (1, duplicates, unaccounted)
