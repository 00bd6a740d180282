"""Mail, chat and pager gateways, by apprise's URLs (`mailto://…`, `slack://…`, `pagerduty://…`).

apprise passes no idempotency key on: the step's key stands in the text, where a person can compare it, and a repeat can only be marked.
"""

from __future__ import annotations

import asyncio
from functools import cache

from pipeline.domain.escalation_policy import Channel
from pipeline.ports.escalation import Delivery, Notice


async def ready() -> None:
    """Loads apprise, once and beside the loop: a second, many on a busy machine, which is no time that the service took."""
    await asyncio.to_thread(_load)


@cache
def _load() -> None:
    import apprise  # here, since only a process with such a channel shall pay for it

    apprise.Apprise().add("json://localhost")  # the first URL loads its hundred services


async def send(notice: Notice, channel: Channel) -> Delivery:
    """apprise says yes or no, not why: after a no the message may still have arrived."""
    import apprise

    way = apprise.Apprise()
    if not way.add(channel.url):
        return Delivery("refused", "apprise does not know this URL")
    kind = apprise.NotifyType.INFO if notice.kind == "withdrawn" else apprise.NotifyType.WARNING
    told = await way.async_notify(
        body=f"{notice.text}\n\nFor: {notice.role}\nReference: {notice.key}", title=notice.subject, notify_type=kind
    )
    return Delivery("delivered") if told else Delivery("unknown", "the service did not confirm it")
