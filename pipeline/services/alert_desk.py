"""What people do to an alert: acknowledge, take over, resolve with the six fields. A study's acknowledgement is the list's own."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from pipeline.domain import alert_words, escalation
from pipeline.domain.escalation import Alert, ClosedLoop
from pipeline.errors import Conflict
from pipeline.ports import Clock, WorklistActions
from pipeline.ports.escalation import AlertChange, AlertReader, AlertStore
from schemas.alerts import Step


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a person says on closing an alert; what is not said is taken from what is known. confirmed: whether the finding was there."""

    received_by: str | None = None
    method: str | None = None
    finding: str | None = None
    confirmed: bool | None = None


class AlertDesk:
    """For the API, the page and the command line. Each raises NotFound, or Conflict with the reason."""

    def __init__(self, store: AlertStore, reader: AlertReader, actions: WorklistActions, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._actions = actions
        self._clock = clock

    async def acknowledge(self, alert_id: str, by: str, method: str, *, take_over: bool = False) -> Alert:
        """Somebody has it in hand. Doing it again oneself is no error; after somebody else it takes a take-over."""
        alert = await self._reader.get(alert_id)
        if not (alert.is_open or (take_over and alert.state == "acknowledged")):
            return _settled(alert, by)
        if alert.study_uid is not None:
            await self._actions.acknowledge(alert.study_uid, by, self._clock.now(), method=method, take_over=take_over)
            return await self._reader.get(alert_id)
        async with self._store.begin() as transaction:
            known = await transaction.get(alert_id)
            try:
                after = escalation.acknowledged(known, by, self._clock.now(), method, take_over=take_over)
            except escalation.NotAllowed:
                return _settled(known, by)
            step: Step = "taken-over" if take_over else "acknowledged"
            entry = alert_words.entry(after, step, f"received over {method}", self._clock.now(), by=by)
            await transaction.store([AlertChange(after, entry)])
        return after

    async def resolve(self, alert_id: str, by: str, said: Resolution) -> Alert:
        """Closes it with the whole record: `by` told whoever received it. Closing what is closed is a Conflict."""
        async with self._store.begin() as transaction:
            known = await transaction.get(alert_id)
            now = self._clock.now()
            record = ClosedLoop(
                finding=said.finding or known.finding,
                identified_at=known.identified_at,
                told_by=by,
                received_by=said.received_by or by,
                received_at=now,
                method=said.method or "page",
            )
            try:
                after = escalation.resolved(known, record, now, said.confirmed)
            except escalation.NotAllowed:
                raise Conflict(f"the alert is {known.state} already") from None
            after = replace(after, acknowledged_by=known.acknowledged_by or by, acknowledged_at=known.acknowledged_at or now)
            words = f"{record.received_by} was told by {record.method}"
            await transaction.store([AlertChange(after, alert_words.entry(after, "resolved", words, now, by=by))])
        if after.study_uid is not None:
            await self._store.touch([after.study_uid])
        return after


def _settled(alert: Alert, by: str) -> Alert:
    if alert.state == "acknowledged" and alert.acknowledged_by == by:
        return alert
    if alert.state == "acknowledged":
        raise Conflict(f"{alert.acknowledged_by} was first; take it over if it is yours now")
    raise Conflict(f"the alert is {alert.state}: nothing waits for an acknowledgement")
