"""The notifier: finds the sender of a channel's kind, keeps to its time limit, and turns every failure into a word."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import httpx
import structlog

from pipeline.adapters.notify import apprise_urls, fhir_communication, hl7_oru, webhook
from pipeline.domain.escalation_policy import Channel, ChannelKind
from pipeline.ports.escalation import Delivery, Notice

log = structlog.get_logger()
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
Send = Callable[[Notice, Channel], Awaitable[Delivery]]


class Channels:
    """Notifier. Use as an async context manager."""

    def __init__(self, environment: Mapping[str, str] = os.environ, http: httpx.AsyncClient | None = None) -> None:
        """environment: where `${NAME}` in a channel's url and secret comes from."""
        self._environment = environment
        self._http = http or httpx.AsyncClient(limits=httpx.Limits(max_connections=32), follow_redirects=False, trust_env=False)
        self._senders: dict[ChannelKind, Send] = {
            "apprise": apprise_urls.send,
            "hl7": hl7_oru.send,
            "webhook": lambda notice, channel: webhook.send(self._http, notice, channel),
            "fhir": lambda notice, channel: fhir_communication.send(self._http, notice, channel),
        }

    async def send(self, notice: Notice, channel: Channel) -> Delivery:
        """As Notifier.send."""
        try:
            channel = replace(channel, url=self._filled(channel.url), secret=self._filled(channel.secret))
        except KeyError as error:
            return Delivery("refused", f"the environment has no {error.args[0]}")
        if channel.kind == "apprise":
            await apprise_urls.ready()
        try:
            async with asyncio.timeout(channel.timeout_s):
                return await self._senders[channel.kind](notice, channel)
        except TimeoutError:
            return Delivery("unknown", f"no answer within {channel.timeout_s:g} s")
        except httpx.ConnectError:
            return Delivery("refused", "no connection")
        except Exception as error:  # whatever a library raises for what the other side does: the step is tried again
            log.warning("channel_failed", kind=channel.kind, error=type(error).__name__)
            return Delivery("unknown", type(error).__name__)

    async def __aenter__(self) -> Channels:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def _filled(self, text: str) -> str:
        """Raises KeyError with the name of a variable that is not set."""
        return _VARIABLE.sub(lambda match: self._environment[match.group(1)], text)
