"""The books of a run: what was sent, what became of it, and what is missing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

from pipeline.adapters.kafka import topics
from pipeline.adapters.kafka.dead_letters import KafkaDeadLetters
from pipeline.adapters.postgres.accounting import PostgresAccounting
from pipeline.adapters.postgres.database import Database
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from schemas.dead_letter import DeadLetter
from schemas.topics import ASSESS, ASSESSMENTS, IMAGING, INPUTS

READERS = (
    ("readfirst-pictures", IMAGING),
    *(("readfirst-context", topic) for topic in INPUTS),
    ("readfirst-scoring", ASSESS),
    ("readfirst-ranking", ASSESSMENTS),
)

MESSAGE_KINDS = {"hl7", "instance", "fhir"}
"""Kinds of receipts that stand for a message that somebody sent; the others are the gateways' own conclusions."""

RESCORE_S = 30.0
"""How long a degraded list is given to be scored again, once all else is settled."""


class Sent(Protocol):
    """What a sender counted."""

    sent: Counter[str]
    retried: int


@dataclass(slots=True)
class Accounts:
    """Reads the books of everything since `since`, UTC."""

    settings: Settings
    since: datetime
    _database: Database | None = None

    async def __aenter__(self) -> Accounts:
        self._database = Database.from_settings(self.settings.postgres)
        await self._database.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.database.close()

    @property
    def database(self) -> Database:
        """Open between enter and exit."""
        assert self._database is not None
        return self._database

    async def lag(self) -> int:
        """Records that no stage has consumed yet."""
        return sum(each.records for each in await asyncio.to_thread(topics.lag, self.settings.kafka, READERS))

    async def dead_letters(self) -> list[DeadLetter]:
        """The dead letters of the run."""
        letters = await asyncio.to_thread(KafkaDeadLetters(self.settings.kafka).read)
        return [letter for _, _, letter in letters if letter.recorded_at >= self.since]

    async def summary(self, sent: Sent, dead: list[DeadLetter]) -> dict[str, Any]:
        """The counts in messages: sent = applied + ignored + refused + dead-lettered + unaccounted."""
        books = PostgresAccounting(self.database)
        receipts = await books.receipts(self.since)
        standing = await books.standing(self.since)
        missing = await books.unaccounted_events(self.since, {letter.event_id for letter in dead})
        outcomes: dict[str, Counter[str]] = {"accepted": Counter(), "ignored": Counter(), "refused": Counter()}
        repeats = unfinished = 0
        for row in (each for each in receipts if each.kind in MESSAGE_KINDS):
            repeats += row.repeats
            if row.outcome is None:
                unfinished += row.count
            else:
                outcomes[row.outcome][row.reason or ""] += row.count
        dead_lettered = Counter(letter.reason for letter in dead)
        applied = outcomes["accepted"].total() - dead_lettered.total() - len(missing)
        answered = applied + outcomes["ignored"].total() + repeats + outcomes["refused"].total() + dead_lettered.total()
        again = _again(answered - sent.sent.total(), sent.retried)
        ignored = outcomes["ignored"] + Counter({"duplicate": repeats - again})
        latencies = sorted(await books.latencies(self.since))
        return {
            "sent": dict(sent.sent),
            "applied": applied,
            "ignored": dict(ignored),
            "refused": dict(outcomes["refused"]),
            "dead_lettered": dict(dead_lettered),
            "unaccounted": abs(sent.sent.total() - answered + again) + unfinished,
            "studies": standing.studies,
            "ranked": standing.open,
            "model_scored": standing.model_scored,
            "degraded": standing.degraded > 0,
            "latency_ms": {f"p{p}": round(_percentile(latencies, p / 100) * 1000, 1) for p in (50, 95, 99)},
        }


async def reconciled(accounts: Accounts, sent: Sent, timeout_s: float) -> dict[str, Any]:
    """Waits until every stage has read all and all is accounted for; after `timeout_s` the summary as it stands.

    Scores that the second choice gave because the model was slow are made again within seconds: that is waited for too, a while.
    """
    deadline = monotonic() + timeout_s
    settled_at = deadline
    while True:
        try:
            quiet = await accounts.lag() == 0
            summary = await accounts.summary(sent, await accounts.dead_letters())
            settled = quiet and summary["unaccounted"] == 0
            settled_at = min(settled_at, monotonic()) if settled else deadline
            rescoring = summary["degraded"] and monotonic() < settled_at + RESCORE_S
            if (settled and not rescoring) or monotonic() > deadline:
                return summary
        except Unavailable:
            if monotonic() > deadline:
                raise
        await asyncio.sleep(0.5)


def _again(surplus: int, retried: int) -> int:
    """So many of the repeats are no messages of their own: they were sent again for want of an answer, and had got one meanwhile."""
    return min(max(surplus, 0), retried)


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
