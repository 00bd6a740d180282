"""The site's rules without a file and without a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from pipeline.ports import SiteRules, SiteVersion


class MemorySiteSource:
    """SiteSource over a text that a test changes. `parse` says what a text means; it may raise SiteFileRefused."""

    def __init__(self, text: str, parse: Callable[[str], SiteRules]) -> None:
        self.text = text
        self._parse = parse
        self._seen: str | None = None

    def poll(self) -> SiteRules | None:
        """As SiteSource.poll."""
        if self.text == self._seen:
            return None
        self._seen = self.text
        return self._parse(self.text)

    def read(self, text: str) -> SiteRules:
        """As SiteSource.read."""
        return self._parse(text)


class MemorySiteRegister:
    """SiteRegister."""

    def __init__(self) -> None:
        self.lines: list[SiteVersion] = []

    async def accept(self, rules: SiteRules, at: datetime) -> bool:
        """As SiteRegister.accept."""
        newest = self.lines[-1] if self.lines else None
        if newest and (newest.version, newest.digest, newest.faults) == (rules.policy.version, rules.digest, None):
            return False
        self.lines.append(SiteVersion(rules.policy.version, rules.digest, rules.text, at))
        return True

    async def refuse(self, digest: str, text: str, faults: Sequence[str], at: datetime) -> None:
        """As SiteRegister.refuse."""
        if not self.lines or self.lines[-1].digest != digest:
            self.lines.append(SiteVersion("", digest, text, at, tuple(faults)))

    async def in_force(self) -> SiteVersion | None:
        """As SiteRegister.in_force."""
        return next((line for line in reversed(self.lines) if line.faults is None), None)

    async def versions(self, limit: int = 20) -> Sequence[SiteVersion]:
        """As SiteRegister.versions."""
        return self.lines[::-1][:limit]
