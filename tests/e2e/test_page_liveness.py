"""An old list never looks like a live one."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.e2e.department import Department, study_uid
from tests.e2e.live_server import LiveServer, SteeredClock
from tests.e2e.reading import Read, Reading, Serve

WRONG_CLOCK = """
    const Real = Date;
    const shift = HERE - Real.now();
    const wrong = () => Real.now() + shift;
    globalThis.Date = class extends Real {
        constructor(...given) { given.length ? super(...given) : super(wrong()); }
        static now() { return wrong(); }
    };
"""
HOUR_MS = 3_600_000


def connection(reading: Reading, words: str | re.Pattern[str]) -> None:
    """How live the page says it is."""
    expect(reading.page.locator("#connection")).to_contain_text(words)


def test_the_stream_says_that_it_is_live(read: Read, server: LiveServer) -> None:
    """With the server's time, in the department's zone: 10:30 UTC is 11:30 in Berlin."""
    reading = read(server)
    connection(reading, re.compile(r"^Live, 11:3\d:\d\d$"))


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_browsers_own_clock_shows_nowhere(read: Read, server: LiveServer, clock: SteeredClock, hours: int) -> None:
    """A client an hour off sees the same minutes left, the same times and no false overdue."""
    here = int((clock.now().timestamp() + hours * 3600) * 1000)
    reading = read(server, script=WRONG_CLOCK.replace("HERE", str(here)))
    connection(reading, re.compile(r"^Live, 11:3\d:\d\d$"))

    assert abs(reading.page.evaluate("Date.now()") - clock.now().timestamp() * 1000) > 0.9 * HOUR_MS
    expect(reading.row(0).locator(".due")).to_have_text("over by 6 min")
    expect(reading.row(4).locator(".due")).to_have_text("due in 7 min")
    assert reading.text("#count-overdue") == "2"


def test_times_in_reasons_are_the_departments(read: Read, server: LiveServer) -> None:
    """The ranking stage writes UTC (09:52Z); a reader in Berlin sees 10:52, in the row and in the detail."""
    why = "K 6.8 at 09:52Z · K 6.1 at 2026-03-02 23:30Z · 99:99Z · 2026-19-39 10:00Z"
    server.happen(lambda: server.department.change(0, "K 6.8 at 09:52Z", why=why))
    reading = read(server)

    expect(reading.row(0).locator(".reason")).to_have_text("K 6.8 at 10:52 · K 6.1 at 00:30 · 99:99Z · 2026-19-39 10:00Z")
    server.happen(lambda: server.department.change(0, "K 6.8 at 09:52Z", why="K 6.8 at 09:52Z"))
    reading.row(0).click()
    expect(reading.page.locator('section[aria-label="History of this rank"]')).to_contain_text("K 6.8 at 10:52")
    assert not re.search(r"(09:52|23:30)Z", reading.text("body"))


def test_a_tab_that_slept_says_so_and_is_up_to_date(read: Read, server: LiveServer) -> None:
    """After an hour it resumes by the last event's id, reads the list again, and says both."""
    reading = read(server, script=FAKE_SLEEP)
    connection(reading, "Live")

    with reading.page.expect_request("**/api/events?last_event_id=*"), reading.page.expect_request("**/api/worklist?*"):
        reading.page.evaluate("sleepFor(3_600_000)")

    expect(reading.page.locator("#notices")).to_contain_text("This tab was asleep for 1 h; the list was read again at 11:3")
    connection(reading, "Live")
    server.happen(lambda: server.department.due_in(12, -30))
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))


@pytest.mark.parametrize("proxy", ["blocked", "silent"])
def test_behind_a_proxy_that_lets_no_stream_through(read: Read, server: LiveServer, proxy: str) -> None:
    """Refused or swallowed: the page asks by itself, says so, and changes still arrive."""
    server.faults.stream = proxy
    reading = read(server)

    connection(reading, "Live stream blocked: asking every 5 s. As of 11:3")
    server.happen(lambda: server.department.due_in(12, -30))
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))


def test_a_lost_connection_is_a_banner_with_the_last_good_time(read: Read, server: LiveServer) -> None:
    """The list stays, dimmed, under words that say how old it is; when the server is back, so is the list."""
    reading = read(server)
    connection(reading, "Live")
    server.faults.down = True
    server.happen(lambda: server.department.due_in(12, -30))

    connection(reading, re.compile(r"Connection lost\. The list is as it was at 11:3\d:\d\d, .+ ago\. Trying again…"))
    expect(reading.page.locator("#strip")).to_have_attribute("data-level", "bad")
    expect(reading.page.locator("#rows tr")).to_have_count(20)

    server.faults.down = False
    connection(reading, "Live")
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))


def test_a_server_that_is_gone(read: Read, server: LiveServer) -> None:
    """Not only a refusal: no answer at all."""
    reading = read(server)
    connection(reading, "Live")
    server.stop()

    connection(reading, "Connection lost. The list is as it was at 11:3")


def test_a_page_opened_while_the_server_is_down_for_data(read: Read, server: LiveServer) -> None:
    """No list at all is said as such, and mends itself."""
    server.faults.data_down = True
    reading = read(server, wait=False)

    connection(reading, "The list cannot be read. Trying again…")
    server.faults.data_down = False
    expect(reading.page.locator("#rows tr")).to_have_count(20)


def test_a_degraded_list_says_how_much_of_it(read: Read, serve: Serve, clock: SteeredClock) -> None:
    """In the banner, on the row, and in the detail."""
    department = Department.busy(clock, 12)
    for number in range(12):
        department.change(number, "the model does not answer", degraded=True, risk=None)
    reading = read(serve(department))

    expect(reading.page.locator("#notices")).to_contain_text("Degraded: all ranked without the model")
    expect(reading.page.locator("#strip")).to_have_attribute("data-level", "warn")
    expect(reading.row(2).locator('.mark[data-kind="degraded"]')).to_have_text("no model")
    reading.row(2).click()
    expect(reading.page.locator('section[aria-label="Risk"]')).to_contain_text("The model did not answer")


def test_a_silent_feed_is_told_in_plain_words(read: Read, server: LiveServer, clock: SteeredClock) -> None:
    """Which, and for how long."""
    clock.push(timedelta(minutes=20))
    reading = read(server)

    expect(reading.page.locator("#notices")).to_contain_text(re.compile(r"labs silent for \d\d min"))


FAKE_SLEEP = """
    let shift = 0;
    const real = performance.now.bind(performance);
    performance.now = () => real() + shift;
    window.sleepFor = (ms) => { shift += ms; };
"""
