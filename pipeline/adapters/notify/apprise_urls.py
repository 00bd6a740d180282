"""Mail, chat and pager gateways, by apprise's URLs (`mailto://…`, `slack://…`, `pagerduty://…`)."""

from __future__ import annotations

from pipeline.domain.escalation_policy import Channel
from pipeline.ports.escalation import Delivery, Notice


async def send(notice: Notice, channel: Channel) -> Delivery:
    """apprise says yes or no, not why: after a no the message may still have arrived."""
    import apprise  # here, since only a process with such a channel shall pay half a second for it

    way = apprise.Apprise()
    if not way.add(channel.url):
        return Delivery("refused", "apprise does not know this URL")
    kind = apprise.NotifyType.INFO if notice.kind == "withdrawn" else apprise.NotifyType.WARNING
    told = await way.async_notify(
        body=f"{notice.text}\n\nFor: {notice.role}\nReference: {notice.key}", title=notice.subject, notify_type=kind
    )
    return Delivery("delivered") if told else Delivery("unknown", "the service did not confirm it")
