"""The rules in force in one process: read again when their file changes, and left as they are when the new file is no good."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from pipeline.domain import evidence
from pipeline.domain.readings import FlaggedResult, Readings
from pipeline.domain.site import DEFAULT, Policy
from pipeline.errors import SiteFileRefused, Unavailable
from pipeline.ports import Clock, SiteRegister, SiteRules, SiteSource
from schemas.assessments import Evidence, StudyState

log = structlog.get_logger()

POLL_S = 2.0


class DefaultRules:
    """Where nothing is followed: the defaults, for ever."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.refused_at: datetime | None = None

    def policy(self) -> Policy:
        """The defaults."""
        return DEFAULT


class SiteRulesInForce:
    """Ask `policy()` at each use. `faults`: why the newest file was refused; empty while the file is in force."""

    def __init__(self, source: SiteSource, register: SiteRegister, clock: Clock) -> None:
        self._source = source
        self._register = register
        self._clock = clock
        self._rules: SiteRules | None = None
        self._noted = True
        self.faults: list[str] = []
        self.refused_at: datetime | None = None
        self.refusals = 0

    def policy(self) -> Policy:
        """The rules; before anything was read, the defaults."""
        return self._rules.policy if self._rules else DEFAULT

    def gather(
        self,
        readings: Readings,
        studies: Sequence[StudyState],
        flags: Sequence[FlaggedResult],
        as_of: datetime,
        age: float | None,
    ) -> list[Evidence]:
        """What a patient's values say, by the rules in force."""
        return evidence.gather(readings, studies, flags, as_of, age, self.policy())

    async def run(self) -> None:
        """Follows the file until cancelled, whatever happens to file and store."""
        while True:
            await self.refresh()
            await asyncio.sleep(POLL_S)

    async def changes(self, follow: Callable[[], Awaitable[object]]) -> None:
        """Calls `follow` after each change of the rules, until cancelled; where a server is away, again later."""
        known = self.policy().version
        while True:
            await asyncio.sleep(POLL_S)
            if (version := self.policy().version) == known:
                continue
            try:
                await follow()
                known = version
            except Unavailable as error:
                log.warning("site_rules_not_followed", error=str(error))

    async def refresh(self) -> None:
        """Looks at the file once. A refused file leaves the rules; where there are none yet, those of the record come into force."""
        try:
            found = self._source.poll()
        except SiteFileRefused as refused:
            await self._refuse(refused)
        else:
            if found is not None:
                self._rules, self._noted, self.faults, self.refused_at = found, False, [], None
        if self._rules is None:
            await self._recall()
        elif not self._noted:
            await self._note(self._rules)

    async def _note(self, rules: SiteRules) -> None:
        """The store being away does not keep good rules from coming into force: they are recorded when it is back."""
        try:
            if await self._register.accept(rules, self._clock.now()):
                log.info("site_rules_accepted", version=rules.policy.version)
            self._noted = True
        except Unavailable:
            log.warning("site_rules_not_recorded", version=rules.policy.version)

    async def _refuse(self, refused: SiteFileRefused) -> None:
        self.faults, self.refused_at = list(refused.faults), self._clock.now()
        self.refusals += 1
        log.error("site_file_refused", faults=self.faults, in_force=self.policy().version)
        digest = hashlib.sha256("\n".join(self.faults).encode()).hexdigest()
        try:
            await self._register.refuse(digest, "", self.faults, self.refused_at)
        except Unavailable:
            log.warning("site_file_refusal_not_recorded")

    async def _recall(self) -> None:
        """This process began with a file that is no good: the rules that were in force before it are in the record."""
        try:
            if (last := await self._register.in_force()) is not None:
                self._rules = self._source.read(last.text)
                log.warning("site_rules_of_the_record_in_force", version=self._rules.policy.version)
        except Unavailable:
            log.warning("site_rules_not_recalled", in_force=DEFAULT.version)
        except SiteFileRefused as refused:
            log.error("site_rules_of_the_record_refused", faults=refused.faults, in_force=DEFAULT.version)
