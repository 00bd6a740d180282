"""What a reader chooses to see and to be told: columns, a sound, a notification."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.e2e.department import study_uid
from tests.e2e.live_server import LiveServer
from tests.e2e.reading import Read, Reading

HEARD = """
    window.heard = { tones: 0, notifications: [] };
    window.OscillatorNode = class { connect() { return this; } start() { heard.tones += 1; } stop() {} };
    window.GainNode = class { connect() { return this; } };
    window.AudioContext = class { currentTime = 0; async resume() {} };
    window.Notification = class {
        constructor(title, { body }) { heard.notifications.push(`${title}: ${body}`); }
        static async requestPermission() { return window.allowed ?? "denied"; }
    };
"""
WIDE = {"width": 1920, "height": 900}


def columns(reading: Reading) -> list[str]:
    """The headings that can be seen."""
    return reading.page.locator("#scroller th").evaluate_all("cells => cells.filter(c => c.offsetParent).map(c => c.innerText)")


def test_columns_can_be_chosen(read: Read, server: LiveServer) -> None:
    """By keyboard; nothing else moves out of place, heading and cell stay above each other, and the browser remembers."""
    reading = read(server, viewport=WIDE)
    assert columns(reading) == ["#", "Time left", "Patient", "Examination", "Where", "Why here", "Waiting", "State"]

    reading.press("v")
    expect(reading.page.get_by_role("dialog", name="View")).to_be_visible()
    assert Axe().run(reading.page).violations_count == 0
    for name in ("Where", "Waiting", "Risk", "Priority of the order"):
        reading.page.get_by_label(name, exact=True).click()
    reading.press("Escape")

    chosen = ["#", "Time left", "Patient", "Examination", "Priority", "Risk", "Why here", "State"]
    assert columns(reading) == chosen
    reading.page.reload()
    expect(reading.row(0)).to_be_visible()
    assert columns(reading) == chosen
    assert reading.row(0).locator("td.risk").inner_text().startswith("0.")
    lefts = "cells => cells.filter(c => c.offsetParent).map(c => Math.round(c.getBoundingClientRect().left))"
    assert reading.page.locator("#scroller thead th").evaluate_all(lefts) == reading.row(0).locator("td").evaluate_all(lefts)
    assert reading.sideways() == 0


def test_a_narrow_window_keeps_its_layout_without_a_column(read: Read, server: LiveServer) -> None:
    """Beside a PACS the row has two lines; what is not chosen leaves no hole that pushes the others."""
    reading = read(server, viewport={"width": 1280, "height": 800})
    reading.press("v")
    reading.page.get_by_label("Examination", exact=True).click()
    reading.press("Escape")

    assert columns(reading) == ["#", "Time left", "Patient", "Where", "Waiting"]
    where = "cell => Math.round(cell.getBoundingClientRect().left)"
    assert reading.page.locator("th.where").evaluate(where) == reading.row(0).locator("td.where").evaluate(where)
    assert reading.sideways() == 0


def test_a_sound_for_what_this_reader_must_act_on_once(read: Read, server: LiveServer) -> None:
    """Their own study that newly becomes urgent: two tones, and not again. Others' and nobody's: silence, unless chosen."""
    reading = read(server, script=HEARD)
    reading.row(12).click()
    reading.press("c")
    expect(reading.row(12).locator("td.state")).to_contain_text("yours")
    server.ask(server.department.worklist.claim(study_uid(14), "Dr Sato", server.department.clock.now()))
    reading.rest()

    for number in (13, 14):
        server.happen(lambda number=number: server.department.due_in(number, 5))
        expect(reading.row(number)).to_have_attribute("data-urgency", "soon")
    assert reading.page.evaluate("heard.tones") == 0

    server.happen(lambda: server.department.due_in(12, 9))
    reading.page.wait_for_function("() => heard.tones === 2")
    server.happen(lambda: server.department.due_in(12, 2.5))
    expect(reading.row(12).locator(".due")).to_contain_text("due in 2 min")
    assert reading.page.evaluate("heard.tones") == 2

    reading.press("v")
    reading.page.locator("#view-of").select_option("any")
    reading.press("Escape")
    reading.rest()
    server.happen(lambda: server.department.due_in(15, 5))
    reading.page.wait_for_function("() => heard.tones === 4")


def test_notifications_are_asked_for_and_hold_no_name(read: Read, server: LiveServer) -> None:
    """Off until chosen and allowed; then only while the page is not in view."""
    reading = read(server, script=HEARD + "Object.defineProperty(document, 'hidden', { get: () => window.away ?? false });")
    reading.press("v")
    box = reading.page.locator("#view-notify")
    assert not box.is_checked()
    box.click()
    expect(reading.page.locator("#view-words")).to_have_text("This browser does not let this page send notifications.")
    expect(box).not_to_be_checked()

    reading.page.evaluate("window.allowed = 'granted'")
    box.click()
    expect(reading.page.locator("#view-words")).to_have_text("")
    reading.page.locator("#view-of").select_option("any")
    reading.press("Escape")
    reading.rest()
    server.happen(lambda: server.department.due_in(15, 5))
    expect(reading.row(15)).to_have_attribute("data-urgency", "soon")
    reading.page.evaluate("window.away = true")
    server.happen(lambda: server.department.due_in(16, 3.5))
    reading.page.wait_for_function("() => heard.notifications.length > 0")

    (said,) = reading.page.evaluate("heard.notifications")
    assert said.startswith("Readfirst: urgent: ") and said.endswith("due in 3 min")
    assert reading.row(16).locator("bdi").inner_text().split(",")[0] not in said
