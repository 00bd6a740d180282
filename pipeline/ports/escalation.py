"""Alerts as they are kept and seen, and the ways in which people are told of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import Channel
from pipeline.domain.triggers import Usage
from schemas import alerts
from schemas.worklist import WorklistItem


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A new state of an alert, and the line that its history gets, which is also the record of the topic `alerts`."""

    alert: Alert
    entry: alerts.Alert | None


class AlertTransaction(Protocol):
    """Reads and writes of alerts, all or nothing. What was read stays locked until commit."""

    async def of(self, studies: Collection[str], patients: Collection[str]) -> list[Alert]:
        """The alerts of these studies, and of these patients. Two transactions on one patient take turns."""
        ...

    async def of_subject(self, subject: str) -> list[Alert]:
        """The alerts of a subject that is no study."""
        ...

    async def get(self, alert_id: str) -> Alert:
        """Raises NotFound."""
        ...

    async def usage(self, since: datetime) -> Usage:
        """What was raised and judged since then."""
        ...

    async def store(self, changes: Sequence[AlertChange]) -> None:
        """Writes them with their history."""
        ...


class Try(NamedTuple):
    """number: the how many-th try of a step this is. repeat: an earlier one may have reached somebody; told: the last one has."""

    number: int
    repeat: bool
    told: bool = False


class DueTransaction(Protocol):
    """Alerts whose time has come, held by this one worker until it ends; a worker that dies lets go of them at once."""

    due: list[Alert]

    async def mark(self, keys: Collection[str]) -> Mapping[str, Try]:
        """Notes, for good and before the transaction ends, that these steps are being sent; those that were told are left as they are."""
        ...

    async def told(self, keys: Collection[str]) -> None:
        """Notes, for good and before the transaction ends, that these reached their receiver: they are never to be sent again."""
        ...

    async def refused(self, keys: Collection[str]) -> None:
        """These were certainly taken by nobody: the next try is no repeat."""
        ...

    async def store(self, changes: Sequence[AlertChange]) -> None:
        """As AlertTransaction.store."""
        ...


class AlertStore(Protocol):
    """Alerts, their history and what is on its way."""

    def begin(self) -> AbstractAsyncContextManager[AlertTransaction]:
        """Commits on a clean exit. Raises Unavailable."""
        ...

    def due(self, before: datetime, limit: int) -> AbstractAsyncContextManager[DueTransaction]:
        """At most `limit` alerts with next_at <= `before` that no other worker holds, the longest due first."""
        ...

    def unpublished(self, limit: int) -> AbstractAsyncContextManager[Sequence[alerts.Alert]]:
        """History that the topic does not have yet, oldest first, for one worker at a time; published once the block ends cleanly."""
        ...

    async def to_judge(self, now: datetime, since: int, limit: int) -> tuple[list[WorklistItem], int]:
        """Items that the topic may not tell of: changed after seq `since`, overdue without an alert, closed with one that stands, silenced.

        Also the seq that was reached.
        """
        ...

    async def ahead_of(self, now: datetime) -> list[str]:
        """Ids of standing alerts that were changed after `now`: the clock has gone back."""
        ...

    async def touch(self, studies: Collection[str]) -> None:
        """Tells the list's listeners that something about these studies has changed."""
        ...


@dataclass(frozen=True, slots=True)
class AlertCounts:
    """What stands above the list."""

    open: int
    suppressed: int


class AlertReader(Protocol):
    """Alerts as pages and commands read them."""

    async def in_states(self, states: Collection[str], limit: int = 200) -> list[Alert]:
        """In these states, the most critical and oldest first."""
        ...

    async def get(self, alert_id: str) -> Alert:
        """Raises NotFound."""
        ...

    async def history(self, alert_id: str) -> list[alerts.Alert]:
        """Every step, oldest first."""
        ...

    async def of_studies(self, studies: Collection[str]) -> Mapping[str, list[Alert]]:
        """The alerts of each study that has any, the most critical first."""
        ...

    async def counts(self) -> AlertCounts:
        """How many are open, how many are silent."""
        ...


# --- telling -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one role. key: the same each time it is sent. repeat: it may have been sent before. No identifiers in any of it."""

    key: str
    role: str
    subject: str
    text: str
    link: str
    at: datetime
    kind: Literal["notified", "escalated", "withdrawn", "digest"]
    category: int
    alert_id: str | None = None
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message. refused: nobody took it, for certain. unknown: it may have arrived."""

    outcome: Literal["delivered", "refused", "unknown"]
    detail: str = ""


class Notifier(Protocol):
    """Sends messages over any kind of channel."""

    async def send(self, notice: Notice, channel: Channel) -> Delivery:
        """Within the channel's time limit; never raises for what the other side does."""
        ...
