"""The channels over real sockets: a mail server, an MLLP receiver, a port where nobody listens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.header import read_header
from pipeline.adapters.local.network import free_port
from pipeline.adapters.notify.channels import Channels
from pipeline.domain.escalation_policy import Channel
from pipeline.ports.escalation import Notice
from pipeline.simulation.receivers import MailSink, WebhookReceiver
from tests.store_fixtures import START


def notice(at: datetime = START) -> Notice:
    """A step."""
    return Notice(
        key="0f0e0d0c-1111-5222-8333-444455556666", role="head", subject="CRITICAL, unread 1 h", text="What: K 6.8\nDo: read it",
        link="https://list/alert/a", at=at, kind="escalated", category=1, alert_id="a",
    )  # fmt: skip


async def test_mail_arrives_by_apprise() -> None:
    """Subject, text and reference, through SMTP."""
    with MailSink() as sink:
        async with Channels() as channels:
            assert (await channels.send(notice(), Channel("apprise", sink.url))).outcome == "delivered"
    (mail,) = sink.received
    assert (mail.subject, mail.key, mail.role) == ("CRITICAL, unread 1 h", notice().key, "head")
    assert "What: K 6.8" in mail.text


async def test_a_receiver_checks_the_signature() -> None:
    """A genuine one is taken, one signed with another secret is refused."""
    with WebhookReceiver() as receiver:
        async with Channels() as channels:
            told = notice(datetime.now(UTC))
            assert (await channels.send(told, Channel("webhook", receiver.url, receiver.secret))).outcome == "delivered"
            assert (await channels.send(told, Channel("webhook", receiver.url, "another"))).outcome == "refused"
    assert [(message.key, message.subject) for message in receiver.received] == [(told.key, told.subject)]


async def test_an_mllp_receiver_answers() -> None:
    """Accepted; refused; nobody there."""
    codes = iter(["CA", "CE"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = (await reader.readuntil(b"\x1c\r"))[1:-2]
        header = read_header(message)
        writer.write(b"\x0b" + acknowledgement.build(header, next(codes), datetime.now(UTC)) + b"\x1c\r")  # type: ignore[arg-type]
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Channels() as channels:
        outcomes = [(await channels.send(notice(), Channel("hl7", f"mllp://127.0.0.1:{port}"))).outcome for _ in range(2)]
        nobody = await channels.send(notice(), Channel("hl7", f"mllp://127.0.0.1:{free_port()}"))
    assert (outcomes, nobody.outcome) == (["delivered", "refused"], "refused")
