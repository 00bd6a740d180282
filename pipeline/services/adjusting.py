"""What readers may do to a deadline, as use cases: each is a rule of the domain, applied to the stored item, recorded with its words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.domain import adjustments
from pipeline.domain.site import Policy
from pipeline.errors import InvalidMessage
from pipeline.ports import Act, Clock, ListedItem, WorklistActions
from schemas.worklist import WorklistItem

LONGEST_WORDS = 200
FOREVER = timedelta(days=366)


class Adjusting:
    """Each raises NotFound, Conflict naming who was first, and InvalidMessage("invalid", …) on what cannot be meant."""

    def __init__(self, actions: WorklistActions, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._actions = actions
        self._clock = clock
        self._policy = policy

    async def hold(self, study_uid: str, reader: str, code: str, minutes: float | None, note: str | None) -> ListedItem:
        """Sets a study aside as it cannot be read as it is; its clock stands still. code: of the site's list of reasons."""
        now, policy, note = self._clock.now(), self._policy(), _words(note)
        reason = policy.hold_reason(code)
        if reason is None:
            raise InvalidMessage("invalid", f"the reason is one of {', '.join(one.code for one in policy.holds)}")
        length = reason.minutes if minutes is None else minutes
        cause = f"set aside by {reader} for up to {length:g} min: {reason.words}{f' ({note})' if note else ''}"
        act = Act("hold", lambda item: adjustments.hold(item, reason, reader, now, minutes, note, policy), cause)
        return await self._actions.adjust(study_uid, reader, now, act)

    async def defer(self, study_uid: str, reader: str, minutes: float, note: str | None) -> ListedItem:
        """Puts a study off; its clock runs on."""
        now, policy, note = self._clock.now(), self._policy(), _words(note)
        cause = f"put off by {reader} for up to {minutes:g} min{f': {note}' if note else ''}"
        act = Act("defer", lambda item: adjustments.defer(item, reader, now, minutes, note, policy), cause)
        return await self._actions.adjust(study_uid, reader, now, act)

    async def resume(self, study_uid: str, reader: str) -> ListedItem:
        """Takes a hold or a deferral back."""
        now, policy = self._clock.now(), self._policy()
        act = Act("resume", lambda item: adjustments.resumed(item, now, policy), f"taken back to the list by {reader}")
        return await self._actions.adjust(study_uid, reader, now, act)

    async def override(self, study_uid: str, reader: str, due_at: datetime, minutes: float, words: str) -> ListedItem:
        """Sets the deadline by a reader's own word, for so many minutes. due_at: with its time zone."""
        now, policy, reason = self._clock.now(), self._policy(), _words(words)
        if reason is None:
            raise InvalidMessage("invalid", "an override needs a reason")
        if due_at.tzinfo is None:
            raise InvalidMessage("invalid", "due_at needs its time zone, as 2026-03-01T12:00:00Z")
        due = due_at.astimezone(UTC)
        if not now - FOREVER < due < now + FOREVER:
            raise InvalidMessage("invalid", "due_at must be within a year")

        def change(item: WorklistItem) -> WorklistItem:
            return adjustments.override(item, due, reader, now, minutes, reason, policy)

        cause = f"deadline set to {due:%Y-%m-%d %H:%MZ} by {reader} for {minutes:g} min: {reason}"
        return await self._actions.adjust(study_uid, reader, now, Act("override", change, cause))

    async def free(self, study_uid: str, reader: str) -> ListedItem:
        """Takes an override back."""
        now, policy = self._clock.now(), self._policy()
        act = Act("free", lambda item: adjustments.freed(item, now, policy), f"override taken back by {reader}")
        return await self._actions.adjust(study_uid, reader, now, act)


def _words(text: str | None) -> str | None:
    """On one line; None where nothing is said."""
    words = " ".join((text or "").split())
    if len(words) > LONGEST_WORDS or "\x00" in words:
        raise InvalidMessage("invalid", f"a note has at most {LONGEST_WORDS} letters")
    return words or None
