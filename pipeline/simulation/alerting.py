"""The demo's escalation: a site file with its minutes compressed, receivers that it tells, and what became of the alerts."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import httpx

from pipeline.adapters.site.document import of
from pipeline.adapters.site.published import as_yaml
from pipeline.domain.escalation_policy import Channel, EscalationPolicy, Step
from pipeline.domain.site import DEFAULT
from pipeline.settings import Settings
from pipeline.simulation.receivers import Arrived, Heard, MailSink, WebhookReceiver

SITE, SECRET = "READFIRST_SITE_FILE", "READFIRST_DEMO_WEBHOOK_SECRET"
READER = "Dr Demo"
LADDER = ((0.0, "radiologist", "pager"), (15.0, "radiologist", "mail"), (30.0, "senior", "pager"), (60.0, "head", "mail"))
WAIT_S = 40.0


class DemoAlerts:
    """Receivers on loopback and the site file that leads to them, for a stack that is started within the block.

    factor: how many times faster than life the steps follow each other.
    """

    def __init__(self, data: Path, factor: float, heard: Heard = lambda arrived: None) -> None:
        self._file = data / "demo-site.yaml"
        self._factor = factor
        self.webhook = WebhookReceiver(heard)
        self.mail = MailSink(heard)

    def __enter__(self) -> Self:
        self.webhook.__enter__()
        self.mail.__enter__()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(as_yaml(of(replace(DEFAULT, version="demo/1", escalation=self.policy()))), "utf-8")
        os.environ |= {SITE: str(self._file), SECRET: self.webhook.secret}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in (SITE, SECRET):
            os.environ.pop(name, None)
        self.mail.__exit__(kind, error, trace)
        self.webhook.__exit__(kind, error, trace)

    def policy(self) -> EscalationPolicy:
        """The default one over a webhook and by mail, compressed."""
        channels = {
            "page": Channel(),
            "pager": Channel("webhook", self.webhook.url, f"${{{SECRET}}}"),
            "mail": Channel("apprise", self.mail.url),
        }
        steps = tuple(Step(minutes / self._factor, role, channel) for minutes, role, channel in LADDER)
        return replace(DEFAULT.escalation, channels=channels, steps=steps)

    @property
    def arrived(self) -> list[Arrived]:
        """All messages."""
        return [*self.webhook.received, *self.mail.received]

    def climbed(self) -> int:
        """Alerts of which every step has arrived here."""
        steps: dict[str, set[tuple[str, str]]] = {}
        for message in self.arrived:
            steps.setdefault(_alert_of(message), set()).add((message.role, message.by))
        ways = {(role, "webhook" if channel == "pager" else "mail") for _, role, channel in LADDER}
        return sum(ways <= seen for alert, seen in steps.items() if alert)


async def settled(demo: DemoAlerts, settings: Settings) -> dict[str, Any]:
    """Waits until an unread case has gone up the whole ladder, acknowledges it by the API, and tells what became of all alerts."""
    deadline = monotonic() + WAIT_S
    headers = {"X-Readfirst-Request": "demo", "X-Readfirst-Reader": READER.replace(" ", "%20")}
    async with httpx.AsyncClient(base_url=settings.web.address, headers=headers, timeout=10) as page:
        acknowledged = await _acknowledged(page)
        while not (acknowledged and demo.climbed()) and monotonic() < deadline:
            await asyncio.sleep(0.2)
            acknowledged = acknowledged or await _acknowledged(page)
        states: Counter[str] = Counter()
        for state in ("notified", "escalated", "acknowledged", "suppressed", "resolved", "withdrawn"):
            states[state] = len((await page.get("/api/alerts", params={"state": state})).json()["alerts"])
    messages = Counter(message.by for message in demo.arrived)
    return {
        **states,
        "messages": dict(messages),
        "all_steps": demo.climbed(),
        "acknowledged_by_api": int(acknowledged),
        "unmarked_repeats": sum(message.again and not message.repeat for message in demo.arrived),
    }


def faults(alerts: dict[str, Any]) -> list[str]:
    """What of a summary of `settled` is not as promised, in words. Where no alert stands there was none to climb or acknowledge."""
    found = []
    standing = any(alerts[state] for state in ("notified", "escalated", "acknowledged"))
    if standing and not alerts["all_steps"]:
        found.append("of no alert did every step reach its receiver")
    if standing and not alerts["acknowledged_by_api"]:
        found.append("no alert could be acknowledged by the API, with its record")
    if alerts["unmarked_repeats"]:
        found.append(f"{alerts['unmarked_repeats']} steps of alerts came twice without a word that they may")
    return found


async def _acknowledged(page: httpx.AsyncClient) -> bool:
    """Whether an alert at the end of the ladder was acknowledged."""
    for alert in (await page.get("/api/alerts")).json()["alerts"]:
        if alert["told"] and alert["told"]["role"] == LADDER[-1][1]:
            answer = await page.post(f"/api/alerts/{alert['id']}/acknowledge")
            return answer.is_success and answer.json()["record"] is not None
    return False


def _alert_of(message: Arrived) -> str:
    """The link in it names the alert."""
    _, found, rest = message.text.partition("/alert/")
    return rest.split()[0] if found else ""
