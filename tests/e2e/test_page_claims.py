"""Two readers at one list."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from tests.e2e.department import study_uid
from tests.e2e.live_server import LiveServer
from tests.e2e.reading import PATIENT, Read


def test_of_two_readers_one_wins_and_the_other_is_told_who(read: Read, server: LiveServer) -> None:
    """The second had not yet heard of the first's claim: the stream is silent to her."""
    first, second = read(server, "Dr Weber"), read(server, "Dr Siobhán O’Brien")
    for reading in (first, second):
        reading.row(4).click()
        expect(reading.page.get_by_role("button", name="Claim c")).to_be_enabled()
    second.page.route("**/api/worklist?*", lambda route: route.abort())

    first.press("c")
    expect(first.page.locator("#detail .say")).to_have_text("This study is yours.")
    second.press("c")

    expect(second.page.locator("#detail .say")).to_have_text("Dr Weber was first: the study is claimed.")
    expect(second.page.get_by_role("button", name="Claimed by Dr Weber")).to_be_disabled()
    assert server.ask(server.department.worklist.get(study_uid(4))).claimed_by == "Dr Weber"


def test_a_claim_that_is_answered_before_the_study_is_shown(read: Read, server: LiveServer) -> None:
    """It is told like any other; what was asked for before it and comes after it does not take it back."""
    reading, held = read(server, script=PATIENT), list[Route]()
    timeline = f"**/{study_uid(2)}/timeline"

    def first_waits(route: Route) -> None:
        route.continue_() if held else held.append(route)

    reading.page.route(timeline, first_waits)
    reading.row(2).click()
    reading.press("c")

    expect(reading.page.locator("#detail .say")).to_have_text("This study is yours.")
    with reading.page.expect_response(timeline):
        held[0].continue_()
    reading.page.wait_for_timeout(200)
    expect(reading.page.get_by_role("button", name="Release r")).to_be_visible()


def test_a_claim_is_seen_by_the_others(read: Read, server: LiveServer) -> None:
    """Within a moment, in the row and in an open detail; taken back, it is gone again."""
    first, second = read(server, "Dr Weber"), read(server, "Dr Sato")
    second.row(3).click()
    expect(second.page.locator("#detail .reasons")).to_be_visible()
    first.row(3).click()
    first.press("c")

    expect(second.row(3).locator("td.state")).to_have_text("◆ Dr Weber")
    expect(second.page.get_by_role("button", name="Claimed by Dr Weber")).to_be_visible()
    first.press("r")
    expect(second.page.get_by_role("button", name="Claim c")).to_be_enabled()


def test_a_claimed_study_stays_with_its_reader_when_it_is_ranked_anew(read: Read, server: LiveServer) -> None:
    """A new value moves it up the list; the claim holds."""
    reading = read(server)
    reading.row(12).click()
    reading.press("c")
    expect(reading.row(12).locator("td.state")).to_contain_text("yours")
    reading.rest()

    server.happen(lambda: server.department.due_in(12, -30))

    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))
    expect(reading.row(12).locator("td.state")).to_contain_text("yours")


def test_the_page_asks_who_is_reading_and_says_what_that_is_worth(read: Read, server: LiveServer) -> None:
    """A name, asked once, kept by this browser; it is not a sign-in, and says so. What was shown is in the audit trail under it."""
    reading = read(server, reader=None)
    dialog = reading.page.locator("#who")
    expect(dialog).to_contain_text("This is not a sign-in yet")
    expect(reading.row(0).locator("a")).to_have_text("name not shown")

    reading.page.keyboard.type("Dr Jörg Müller-Lüdenscheidt 山田")
    reading.press("Enter")

    expect(dialog).to_be_hidden()
    expect(reading.row(0).locator("a")).to_have_text("Hoffmann, Karl")
    assert {entry.reader for entry in server.department.vault.audit} == {"Dr Jörg Müller-Lüdenscheidt 山田"}
    reading.page.reload()
    expect(reading.page.locator("#reader")).to_have_text("Dr Jörg Müller-Lüdenscheidt 山田")
    expect(dialog).to_be_hidden()


def test_who_looks_without_a_name_cannot_claim(read: Read, server: LiveServer) -> None:
    """The question comes back, with the reason."""
    reading = read(server, reader=None)
    reading.page.get_by_role("button", name="Look without names").click()
    reading.row(2).click()
    expect(reading.page.locator("#detail .reasons")).to_be_visible()

    reading.press("c")

    expect(reading.page.locator("#who-refusal")).to_have_text("Say who you are first: claims carry a name.")
    assert server.ask(server.department.worklist.get(study_uid(2))).claimed_by is None
