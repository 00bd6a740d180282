"""Setting aside and moving, by keyboard, with what each dialog promises."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pipeline.domain import adjustments
from pipeline.domain.site import DEFAULT
from tests.e2e.department import study_uid
from tests.e2e.live_server import LiveServer
from tests.e2e.reading import Read


def test_setting_aside_by_keyboard_and_back(read: Read, server: LiveServer) -> None:
    """h asks why, arrows choose, Enter does it; the row says until when, the history who; h again takes it back."""
    reading = read(server)
    page = reading.page
    reading.row(3).click()
    reading.press("h")
    expect(page.get_by_role("dialog", name="Set aside")).to_be_visible()
    expect(page.get_by_label("images are missing")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#aside-minutes")).to_have_value("60")
    page.locator("#aside-note").fill("from the archive")
    page.keyboard.press("Enter")

    expect(page.locator("#detail .hold-note")).to_contain_text("Set aside by Dr Weber: prior images are needed and not here yet")
    expect(page.locator("#detail")).to_contain_text("set aside by Dr Weber for up to 60 min")
    expect(reading.row(3).locator("td.state")).to_contain_text("aside till")
    why = reading.row(3).locator('.mark[data-kind="held"]')
    expect(why).to_have_text("prior images are needed and not here yet (from the archive)")
    held = server.ask(server.department.worklist.get(study_uid(3))).item.adjustment
    assert held is not None and held.hold is not None and held.hold.code == "priors-missing"

    reading.press("h")
    expect(page.locator("#detail .say")).to_have_text("Back on the list.")
    expect(page.locator("#detail .hold-note")).to_have_count(0)
    expect(why).to_have_count(0)


@pytest.mark.parametrize("width", [1700, 1280, 390])
def test_the_row_says_why_it_is_set_aside(read: Read, server: LiveServer, width: int) -> None:
    """A long reason is cut with an ellipsis, and pushes neither the evidence nor another mark out of the row."""
    department, reason = server.department, DEFAULT.hold_reason("quality")
    item, now = server.ask(department.worklist.get(study_uid(3))).item, department.clock.now()
    note = "motion, and the apices are cut off; the ward is told, the film is repeated at the bedside"
    department.put(adjustments.hold(item, reason, "Dr Weber", now, None, note, DEFAULT), "hold")
    reading = read(server, viewport={"width": width, "height": 900})
    row = reading.row(3)
    row.scroll_into_view_if_needed()

    shown = row.locator('.mark[data-kind="held"]').evaluate("mark => [mark.clientWidth, mark.scrollWidth]")
    assert 48 <= shown[0] < shown[1], shown
    inside = "marks => marks.every((mark) => mark.getBoundingClientRect().right <= mark.closest('td').getBoundingClientRect().right + 1)"
    assert row.locator(".mark").evaluate_all(inside)
    assert row.locator("td.why .reason").evaluate("reason => reason.clientWidth") >= 60
    assert row.locator("td.state").evaluate("state => state.scrollWidth <= state.clientWidth"), "until when is cut"


def test_moving_says_what_it_comes_to(read: Read, server: LiveServer) -> None:
    """Before it is done the dialog warns of a deadline after the order's target; a refusal stays in the dialog; the row is marked."""
    reading = read(server)
    page = reading.page
    reading.row(2).click()
    expect(page.locator("#detail .reasons")).to_be_visible()
    reading.press("m")
    expect(page.locator("#mover-words")).to_contain_text("Due")
    page.locator("#mover-due").fill("2000")
    expect(page.locator("#mover-beyond")).to_contain_text("after the order’s own target")
    page.locator("#mover-reason").fill(" ")
    page.keyboard.press("Enter")
    expect(page.locator("#mover-refusal")).to_contain_text("needs a reason")
    page.locator("#mover-reason").fill("read by telephone")
    page.keyboard.press("Enter")

    expect(page.locator("#detail .say")).to_have_text("Its deadline is the one you gave.")
    expect(reading.row(2).locator('.mark[data-kind="moved-down"]')).to_be_visible()
    page.get_by_role("button", name="Take the override back").click()
    expect(page.locator("#detail .say")).to_have_text("The rules decide again.")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_in_the_dialogs(read: Read, server: LiveServer, theme: str) -> None:
    """Nor on the list and the study that they leave behind."""
    reading = read(server, script=f"localStorage.setItem('readfirst-theme', '{theme}')")
    page = reading.page
    reading.row(3).click()
    expect(page.locator("#detail .reasons")).to_be_visible()
    for key in ("h", "m"):
        reading.press(key)
        expect(page.locator("dialog[open]")).to_have_count(1)
        assert Axe().run(page).response["violations"] == []
        page.locator("#mover-reason" if key == "m" else "#aside-note").fill("x")
        page.keyboard.press("Enter")
        expect(page.locator("dialog[open]")).to_have_count(0)
    assert Axe().run(page).response["violations"] == []


def test_escape_changes_nothing(read: Read, server: LiveServer) -> None:
    """A dialog that is left leaves the study as it was, and no key acts behind it."""
    reading = read(server)
    reading.row(1).click()
    expect(reading.page.locator("#detail .reasons")).to_be_visible()
    for key in ("h", "m"):
        reading.press(key)
        expect(reading.page.locator("dialog[open]")).to_have_count(1)
        reading.page.keyboard.press("Escape")
        expect(reading.page.locator("dialog[open]")).to_have_count(0)
    assert server.ask(server.department.worklist.get(study_uid(1))).item.adjustment is None


def test_sub_lists_of_the_site(read: Read, server: LiveServer) -> None:
    """The lists come from the site's rules; one shows its part of the one list."""
    reading = read(server)
    reading.page.locator("#list-name").select_option(label="Breast")

    expect(reading.page.locator("#rows tr").first).to_contain_text("MG")
    rows = reading.page.locator("#rows tr td.what").all_inner_texts()
    assert rows and all(text.startswith("MG") for text in rows)
