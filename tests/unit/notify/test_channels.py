"""Messages as each protocol has them: signed, known by a key, and without a word that names a person."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from urllib.parse import unquote

import hl7
import httpx
import pytest

from pipeline.adapters.notify import apprise_urls, fhir_communication, hl7_oru, webhook
from pipeline.adapters.notify.channels import Channels
from pipeline.domain.escalation_policy import Channel
from pipeline.ports.escalation import Delivery, Notice
from tests.store_fixtures import START

KEY = "0f0e0d0c-1111-5222-8333-444455556666"
HOOK = Channel("webhook", "https://pager/${PAGER_ROOM}", "${PAGER_SECRET}", timeout_s=0.3)
ENVIRONMENT = {"PAGER_ROOM": "7", "PAGER_SECRET": "s3cret"}


def notice(**changes: object) -> Notice:
    """The second step of a critical alert."""
    fields: dict[str, object] = {
        "key": KEY, "role": "senior", "subject": "CRITICAL, unread", "text": "What: K 6.8|x\nDo: open it", "link": "https://list/alert/a",
        "at": START, "kind": "escalated", "category": 1, "alert_id": "a",
    }  # fmt: skip
    return Notice(**{**fields, **changes})  # type: ignore[arg-type]


class Receiver:
    """The other side of HTTP."""

    def __init__(self, status: int = 200, error: Exception | None = None) -> None:
        self.status, self.error = status, error
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Takes one request."""
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return httpx.Response(self.status)


async def send(receiver: Receiver, channel: Channel, told: Notice | None = None) -> Delivery:
    """Over a channel whose other side is `receiver`."""
    async with Channels(ENVIRONMENT, httpx.AsyncClient(transport=httpx.MockTransport(receiver))) as channels:
        return await channels.send(told or notice(), channel)


async def test_a_webhook_is_signed_and_carries_its_key() -> None:
    """HMAC over time and body, with the secret of the environment; a changed body, an old time and another secret are found out."""
    receiver = Receiver()
    assert await send(receiver, HOOK) == Delivery("delivered")
    (request,) = receiver.requests
    assert (str(request.url), request.headers["idempotency-key"]) == ("https://pager/7", KEY)
    headers = dict(request.headers)
    assert webhook.is_genuine("s3cret", headers, request.content, START)
    assert not webhook.is_genuine("s3cret", headers, request.content + b" ", START)
    assert not webhook.is_genuine("other", headers, request.content, START)
    assert not webhook.is_genuine("s3cret", headers, request.content, START + timedelta(minutes=6))
    assert not webhook.is_genuine("s3cret", {}, request.content, START)
    body = json.loads(request.content)
    assert (body["role"], body["repeat"], body["link"]) == ("senior", False, "https://list/alert/a")
    assert (body["category"], body["radlex"]) == (1, "RID49480")


@pytest.mark.parametrize(
    ("receiver", "outcome"),
    [
        (Receiver(500), "refused"),
        (Receiver(302), "refused"),
        (Receiver(error=httpx.ConnectError("no")), "refused"),
        (Receiver(error=httpx.ReadTimeout("late")), "unknown"),
        (Receiver(error=httpx.RemoteProtocolError("cut")), "unknown"),
    ],
)
async def test_what_became_of_a_message_is_told_apart(receiver: Receiver, outcome: str) -> None:
    """Certainly not taken, or perhaps: only the second makes the next one a repeat."""
    assert (await send(receiver, HOOK)).outcome == outcome


async def test_a_secret_that_is_not_set_is_said_without_sending() -> None:
    """By the variable's name."""
    receiver = Receiver()
    missing = Channel("webhook", "https://pager", "${NO_SUCH_SECRET}")
    assert await send(receiver, missing) == Delivery("refused", "the environment has no NO_SUCH_SECRET")
    assert receiver.requests == []


async def test_a_fhir_server_is_asked_for_one_communication() -> None:
    """Conditional create by the step's key; structure as R4B has it; nobody is its subject."""
    from fhir.resources.R4B.communication import Communication

    receiver = Receiver(201)
    assert await send(receiver, Channel("fhir", "https://fhir/r4/", "token"), notice(repeat=True)) == Delivery("delivered")
    (request,) = receiver.requests
    assert str(request.url) == "https://fhir/r4/Communication"
    assert unquote(request.headers["if-none-exist"]) == f"identifier=urn:ietf:rfc:3986|urn:uuid:{KEY}"
    parsed = Communication.model_validate_json(request.content)
    assert (parsed.status, parsed.priority, parsed.subject) == ("completed", "stat", None)
    assert parsed.category[1].coding[0].code == "RID49480"
    assert fhir_communication.resource(notice())["payload"][0]["contentString"] == notice().text


def test_an_oru_message_has_no_patient_and_closes_no_order() -> None:
    """MSH-10 is the step's key; text escaped; results preliminary, withdrawn ones W."""
    parsed = hl7.parse(hl7_oru.message(notice()).decode())
    assert str(parsed.segment("MSH")[10]) == KEY.replace("-", "")[:20]
    assert [str(segment[0]) for segment in parsed] == ["MSH", "OBR", "OBX", "OBX", "OBX", "OBX"]
    assert str(parsed.segment("OBR")[25]) == "P"
    assert {str(obx[11]) for obx in parsed.segments("OBX")} == {"P"}
    assert str(parsed.segments("OBX")[0][5]).startswith("RID49480")
    assert parsed.unescape(str(parsed.segments("OBX")[1][5][1])) == "What: K 6.8|x\rDo: open it"
    assert str(hl7.parse(hl7_oru.message(notice(kind="withdrawn")).decode()).segment("OBR")[25]) == "W"


async def test_a_channel_that_apprise_does_not_know_is_refused() -> None:
    """The site file can name any URL."""
    assert (await send(Receiver(), Channel("apprise", "nonsense://x"))).outcome == "refused"


async def test_loading_apprise_is_no_time_that_a_service_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loads it for longer than the channel's time limit still sends."""

    async def slow() -> None:
        await asyncio.sleep(0.1)

    async def taken(told: Notice, channel: Channel) -> Delivery:
        await asyncio.sleep(0)
        return Delivery("delivered")

    monkeypatch.setattr(apprise_urls, "ready", slow)
    monkeypatch.setattr(apprise_urls, "send", taken)
    assert (await send(Receiver(), Channel("apprise", "mailto://x", timeout_s=0.05))).outcome == "delivered"
