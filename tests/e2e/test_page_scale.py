"""From nobody waiting to five thousand."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.department import Department, study_uid
from tests.e2e.live_server import SteeredClock
from tests.e2e.reading import Read, Serve


def test_an_empty_list_says_so_and_fills_by_itself(read: Read, serve: Serve, clock: SteeredClock) -> None:
    """Zero studies are not an error, and not a blank page."""
    server = serve(Department.empty(clock))
    reading = read(server)
    expect(reading.page.locator("#empty")).to_have_text("No open studies. New ones appear here by themselves.")
    assert reading.text("#count-open") == "0"

    server.happen(lambda: server.department.arrive(3))

    expect(reading.row(3)).to_be_visible()
    expect(reading.page.locator("#empty")).to_be_hidden()


def test_five_thousand_open_studies(read: Read, serve: Serve, clock: SteeredClock) -> None:
    """The server pages: the browser holds a hundred rows, all are counted, more come on request, in one order and none twice."""
    server = serve(Department.busy(clock, 5000, facts=False))
    reading = read(server)

    expect(reading.page.locator("#rows tr")).to_have_count(100)
    assert reading.text("#count-open") == "5,000"
    assert "more below" in reading.text("#shown")

    server.happen(lambda: server.department.due_in(4000, 1))
    expect(reading.row(4000)).to_be_visible()
    reading.page.locator("#more").click()
    expect(reading.page.locator("#rows tr")).to_have_count(200)

    uids = reading.uids()
    rest = [study_uid(number) for number in range(5000) if number != 4000]
    assert len(set(uids)) == 200
    assert [uid for uid in uids if uid != study_uid(4000)] == rest[:199]


def test_the_filter_asks_the_server(read: Read, serve: Serve, clock: SteeredClock) -> None:
    """A name far below the rows that are shown is found."""
    department = Department.busy(clock, 700, facts=False)
    department.know(f"{650:032x}", "Ångström^Åsa")
    reading = read(serve(department))

    reading.press("/")
    reading.page.keyboard.type("angstrom")

    expect(reading.page.locator("#rows tr")).to_have_count(1)
    expect(reading.row(650)).to_contain_text("Ångström, Åsa")
    reading.press("Escape")
    expect(reading.page.locator("#rows tr")).to_have_count(100)
