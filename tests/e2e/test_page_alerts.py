"""Alerts on the page: on the row, in the header, beside the list; acknowledged with a key, closed with a record."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import DEFAULT
from pipeline.services.alert_steps import AlertSteps
from pipeline.services.escalation import Escalation
from tests.alert_builders import minutes
from tests.e2e.live_server import LiveServer
from tests.e2e.reading import Read


class Alarm:
    """The agent of the department that a test shows."""

    def __init__(self, server: LiveServer) -> None:
        department = server.department
        self.server = server
        self.alerts = department.worklist.alerts
        self._escalation = Escalation(self.alerts, department.worklist, department.clock, lambda: DEFAULT)
        self._steps = AlertSteps(self.alerts, Nobody(), MemoryEventLog(), department.clock, lambda: DEFAULT, server.url)

    def look(self) -> list[Alert]:
        """Judges the whole list and takes what is due; gives the open ones, the most critical first."""
        items = [item for item, _ in self.server.department.worklist.all_items()]
        self.server.ask(self._escalation.observe(items))
        while self.server.ask(self._steps.advance()):
            pass
        open_alerts: list[Alert] = self.server.ask(self.alerts.in_states(("notified", "escalated")))
        return open_alerts


class Nobody:
    """No channel but the page is in use."""

    async def send(self, notice: Any, channel: Any) -> Any:
        """As Notifier.send."""
        raise AssertionError("nothing is sent")


@pytest.fixture
def alarm(server: LiveServer) -> Alarm:
    """Over the department."""
    return Alarm(server)


def test_an_alert_is_seen_on_the_row_in_the_header_and_beside_the_list(read: Read, alarm: Alarm) -> None:
    """Raised while the page is open; the history says who was told; a later step makes it escalated."""
    reading = read(alarm.server)
    found = alarm.look()
    critical = next(alert for alert in found if alert.trigger == "critical")
    row = reading.page.locator(f'#rows tr[data-uid="{critical.study_uid}"]')

    expect(row.locator('.mark[data-kind="alert"]')).to_have_text("alert")
    expect(reading.page.locator("#count-alerts")).to_have_text(str(len(found)))
    row.click()
    section = reading.page.locator("#detail .escalation")
    expect(section.locator(".headline").first).to_contain_text("Nobody has acknowledged")
    expect(section.locator(".steps").first).to_contain_text("told: radiologist over page")
    alarm.server.department.clock.push(minutes(16))
    alarm.look()
    expect(row.locator('.mark[data-kind="alert"]')).to_have_text("escalated")


def test_acknowledging_the_study_acknowledges_the_alert(read: Read, alarm: Alarm) -> None:
    """One key; the mark goes, the six fields are there."""
    reading = read(alarm.server)
    critical = next(alert for alert in alarm.look() if alert.trigger == "critical")
    row = reading.page.locator(f'#rows tr[data-uid="{critical.study_uid}"]')
    row.click()
    expect(reading.page.locator("#detail .escalation")).to_be_visible()
    reading.press("a")

    expect(reading.page.locator("#detail .escalation")).to_contain_text("✓ Acknowledged by Dr Weber")
    for term in ("Finding", "Identified", "Told by", "Received by", "Received", "How"):
        expect(reading.page.locator("#detail .escalation dt").get_by_text(term, exact=True).first).to_be_visible()
    expect(row.locator('.mark[data-kind="alert"]')).to_have_count(0)
    assert alarm.server.ask(alarm.alerts.get(critical.id)).record.method == "page"


def test_closing_an_alert_keeps_what_is_typed_while_the_list_moves(read: Read, alarm: Alarm) -> None:
    """A record of who was told; a change of the study under the hand loses no letter of it."""
    reading = read(alarm.server)
    critical = next(alert for alert in alarm.look() if alert.trigger == "critical")
    reading.page.locator(f'#rows tr[data-uid="{critical.study_uid}"]').click()
    section = reading.page.locator("#detail .escalation .alert").first
    section.get_by_text("Close with a record").click()
    section.get_by_label("Who was told").fill("Dr Roth, ICU")
    alarm.server.ask(alarm.alerts.touch([critical.study_uid]))
    reading.page.wait_for_timeout(600)
    expect(section.get_by_label("Who was told")).to_have_value("Dr Roth, ICU")
    section.get_by_label("Was it there?").select_option("confirmed")
    section.get_by_role("button", name="Close the alert").click()

    expect(reading.page.locator("#detail .say")).to_have_text("The alert is closed.")
    done = alarm.server.ask(alarm.alerts.get(critical.id))
    assert (done.state, done.record.received_by, done.record.method, done.confirmed) == ("resolved", "Dr Roth, ICU", "phone", True)


def test_the_list_of_alerts_is_a_key_away(read: Read, alarm: Alarm) -> None:
    """Open ones, acknowledged there or opened on the list; a message's link leads to the study."""
    reading = read(alarm.server)
    found = alarm.look()
    expect(reading.page.locator("#count-alerts")).to_have_text(str(len(found)))
    reading.press("e")
    expect(reading.page.locator("#alerts-list li")).to_have_count(len(found))
    reading.page.locator("#alerts-list li").first.get_by_role("button").click()
    expect(reading.page.locator("#alerts-list li")).to_have_count(len(found) - 1)
    reading.press("Escape")
    reading.open(f"/alert/{found[0].id}")
    assert reading.opened() == found[0].study_uid
