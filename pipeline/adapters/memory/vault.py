"""The identity vault in memory, unencrypted: for tests with invented persons only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipeline.adapters.identity.records import AuditEntry, merged
from pipeline.ports import Clock, Identity


class MemoryVault:
    """IdentityVault."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.identities: dict[str, Identity] = {}
        self.known_numbers: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.audit: list[AuditEntry] = []

    async def remember(self, identities: Sequence[Identity], numbers: Mapping[str, str] = {}) -> None:
        """As IdentityVault.remember."""
        for identity in identities:
            self.identities[identity.pseudonym] = merged(self.identities.get(identity.pseudonym), identity)
        self.known_numbers.update(numbers)

    async def reveal(self, pseudonyms: Sequence[str], reader: str, purpose: str) -> Mapping[str, Identity]:
        """As IdentityVault.reveal."""
        self._note(pseudonyms, reader, purpose, "identity")
        return {pseudonym: self.identities[pseudonym] for pseudonym in pseudonyms if pseudonym in self.identities}

    async def numbers(self, pseudonyms: Sequence[str], reader: str, purpose: str) -> Mapping[str, str]:
        """As IdentityVault.numbers."""
        self._note(pseudonyms, reader, purpose, "number")
        return {pseudonym: self.known_numbers[pseudonym] for pseudonym in pseudonyms if pseudonym in self.known_numbers}

    async def link(self, number: str, meaning: str, instead_of: str | None = None) -> bool:
        """As IdentityVault.link."""
        if self.links.get(number, instead_of) != instead_of:
            return False
        self.links[number] = meaning
        return True

    async def linked(self, numbers: Collection[str]) -> Mapping[str, str]:
        """As IdentityVault.linked."""
        return {number: self.links[number] for number in numbers if number in self.links}

    async def audit_entries(self, limit: int = 100) -> list[AuditEntry]:
        """Newest first."""
        return self.audit[::-1][:limit]

    def _note(self, pseudonyms: Sequence[str], reader: str, purpose: str, what: str) -> None:
        if pseudonyms:
            self.audit.append(AuditEntry(reader, purpose, self._clock.now(), what, tuple(pseudonyms)))
