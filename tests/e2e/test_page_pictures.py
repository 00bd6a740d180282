"""What an image model saw, and where, as a reader meets it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.live_server import LiveServer
from tests.e2e.reading import Read
from tests.e2e.test_page_access import violations


def test_a_finding_has_its_map(read: Read, server: LiveServer) -> None:
    """Folded away until a reader asks for it; a cell a place, in words too; a finding without a map has none to ask for."""
    reading = read(server)
    reading.row(3).click()
    section = reading.page.locator("section[aria-label=Image]")
    expect(section.locator(".findings li")).to_have_count(2)

    found = section.locator("svg.activation")
    expect(found).to_have_count(1)
    expect(found).to_be_hidden()
    section.get_by_text("Where in the film").focus()
    reading.press("Enter")
    expect(found).to_be_visible()
    expect(found).to_have_attribute("aria-label", "Map of the picture: what speaks for it lies mostly in the right of the picture")
    assert found.locator("rect").count() == 49
    expect(section).to_contain_text("41 % pneumonia, where 10 % of such pictures have it")
    assert violations(reading) == []

    reading.press("a")  # draws the study anew
    expect(reading.page.get_by_role("button", name="Acknowledged")).to_be_disabled()
    expect(found).to_be_visible()
    expect(section.get_by_text("Where in the film")).to_be_focused()
    reading.press("Enter")
    expect(found).to_be_hidden()


def test_a_reader_says_what_the_picture_shows(read: Read, server: LiveServer) -> None:
    """Agree, then correct: the last word stands with the reader's name."""
    reading = read(server)
    reading.row(3).click()
    found = reading.page.locator("section[aria-label=Image] .findings li").first
    found.get_by_role("button", name="Agree", exact=True).click()
    expect(found).to_contain_text("Dr Weber agrees.")
    expect(reading.page.locator("#detail .say")).to_have_text("Noted, for the model to learn from.")

    found.get_by_text("Something else").click()
    found.get_by_label("It shows").fill("pleural effusion")
    found.get_by_role("button", name="Correct").click()
    expect(found).to_contain_text("Dr Weber corrects: pleural effusion.")
    expect(found).not_to_contain_text("agrees.")
    assert violations(reading) == []
