"""Patients' names for the page, asked of the vault once in a few minutes: the audit trail says who saw whom, not how often a page moved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from pipeline.ports import Clock, Identity, IdentityVault

KEPT = timedelta(minutes=5)
UNKNOWN_KEPT = timedelta(seconds=15)
READERS = 64
SEARCH = "worklist name search"


class People:
    """The vault with a short memory for each reader."""

    def __init__(self, vault: IdentityVault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._known: dict[str, dict[str, tuple[datetime, Identity | None]]] = {}
        self._lock = asyncio.Lock()

    async def behind(self, pseudonyms: Iterable[str], reader: str | None, purpose: str = "worklist") -> Mapping[str, Identity]:
        """The persons known, those for whom nobody has asked lately freshly revealed. Nobody for an unnamed reader."""
        if reader is None:
            return {}
        wanted = list(dict.fromkeys(pseudonyms))
        async with self._lock:
            memory = self._memory_of(reader)
            now = self._clock.now()
            await self._look_up([p for p in wanted if p not in memory or memory[p][0] <= now], memory, reader, purpose)
            return {p: person for p in wanted if (person := memory[p][1]) is not None}

    async def for_search(self, pseudonyms: Iterable[str], reader: str) -> Mapping[str, Identity]:
        """Names to search in. The audit trail shows the search itself; whoever is found is revealed to the reader by `behind`."""
        return await self.behind(pseudonyms, SEARCH, f"name search for {reader}")

    async def number(self, pseudonym: str | None, reader: str | None) -> str | None:
        """The accession number behind its pseudonym, for a named reader."""
        if pseudonym is None or reader is None:
            return None
        return (await self._vault.numbers([pseudonym], reader, "worklist")).get(pseudonym)

    def _memory_of(self, reader: str) -> dict[str, tuple[datetime, Identity | None]]:
        if reader not in self._known and len(self._known) >= READERS:
            self._known.pop(next(iter(self._known)))
        memory = self._known.setdefault(reader, {})
        now = self._clock.now()
        for pseudonym in [p for p, (until, _) in memory.items() if until <= now]:
            del memory[pseudonym]
        return memory

    async def _look_up(
        self, missing: Sequence[str], memory: dict[str, tuple[datetime, Identity | None]], reader: str, purpose: str
    ) -> None:
        if not missing:
            return
        found = await self._vault.reveal(missing, reader, purpose)
        now = self._clock.now()
        for pseudonym in missing:
            person = found.get(pseudonym)
            memory[pseudonym] = (now + (KEPT if person else UNKNOWN_KEPT), person)
