"""The operators' page in Chromium: what it says stays true when the server goes, and letters are settled with a reason."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.department import Department
from tests.e2e.live_server import LiveServer, SteeredClock
from tests.e2e.ops_picture import stopped_room
from tests.e2e.reading import Read


def test_a_stopped_stage_is_told_with_whom_it_affects(read: Read, clock: SteeredClock) -> None:
    """The sentence, the red stage, the silent source; a lost server greys the page and says since when."""
    with LiveServer(Department.busy(clock, 3), stopped_room(clock)).running() as server:
        page = read(server, path="/ops", wait=False).page
        expect(page.locator("#amiss li").first).to_contain_text("of context partition")
        expect(page.locator("#amiss li").first).to_contain_text(re.compile(r"are ranked on data 96 s old\. It stands still\."))
        expect(page.locator('#line li[data-stage="context"]')).to_have_attribute("data-level", "bad")
        expect(page.locator('#line li[data-stage="ranking"]')).to_have_attribute("data-level", "calm")
        expect(page.locator("#sources tr[data-state=silent]")).to_contain_text("LIS|MAIN")

        server.faults.down = True
        expect(page.locator("#connection")).to_contain_text("Connection lost. This is how it was at")
        expect(page.locator("body")).to_have_attribute("data-feed", "lost")
        server.faults.down = False
        expect(page.locator("#connection")).to_contain_text(re.compile("Live|Nothing has been looked at"))


def test_a_letter_is_shown_and_purged_with_a_reason(read: Read, clock: SteeredClock) -> None:
    """Its bytes on demand; without a reason it stays."""
    with LiveServer(Department.busy(clock, 3), stopped_room(clock)).running() as server:
        page = read(server, path="/ops", wait=False).page
        expect(page.locator("#letters")).to_contain_text("came back 1 time")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#letter-body")).to_have_text("{}")
        page.keyboard.press("Escape")

        page.get_by_role("button", name="Purge").click()
        page.locator("#purge-reason").fill("a test of the vendor")
        page.get_by_role("button", name="Purge it").click()
        expect(page.locator("#letters")).to_contain_text("Purged.")
