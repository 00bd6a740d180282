"""Everything by keyboard, and nothing typed into a field is taken for a command."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.department import study_uid
from tests.e2e.live_server import LiveServer
from tests.e2e.reading import Read


def test_j_and_k_move_the_focus(read: Read, server: LiveServer) -> None:
    """Down, up, and no further than the ends; arrows, Home and End do the same once a row has the focus."""
    reading = read(server)
    expect(reading.row(0)).to_be_visible()
    order = reading.uids()

    reading.press("j", "j")
    assert reading.focused() == order[1]
    reading.press("k", "k", "k")
    assert reading.focused() == order[0]
    reading.press("End")
    assert reading.focused() == order[-1]
    reading.press("ArrowDown", "ArrowUp")
    assert reading.focused() == order[-2]
    reading.press("Home")
    assert reading.focused() == order[0]


def test_enter_opens_and_escape_closes(read: Read, server: LiveServer) -> None:
    """The detail says what would change the rank; focus returns to the study's row; with a study open, j and k open the neighbours."""
    reading = read(server)
    reading.press("j", "Enter")
    expect(reading.page.locator("#detail .reasons")).to_contain_text("Changes with a corrected or later K at or below 6.0 mmol/L")
    assert reading.opened() == study_uid(0)

    reading.press("j")
    expect(reading.page.locator("#detail h2")).to_have_text(reading.row(1).locator("bdi").inner_text())
    assert reading.opened() == reading.focused() == study_uid(1)

    reading.press("Escape")
    expect(reading.page.locator("#detail .nothing")).to_be_visible()
    assert reading.opened() is None
    assert reading.focused() == study_uid(1)


def test_claim_acknowledge_and_release(read: Read, server: LiveServer) -> None:
    """c, a, r on the open study: said in the detail, shown in the row, known to the server."""
    reading = read(server)
    reading.press("j", "j", "Enter", "c")
    expect(reading.page.locator("#detail .say")).to_have_text("This study is yours.")
    expect(reading.row(1).locator("td.state")).to_contain_text("yours")

    reading.press("a")
    expect(reading.page.locator("#detail .say")).to_have_text("Acknowledged.")
    expect(reading.page.get_by_role("button", name="Acknowledged by you")).to_be_disabled()
    listed = server.ask(server.department.worklist.get(study_uid(1)))
    assert (listed.claimed_by, listed.acknowledged_by) == ("Dr Weber", "Dr Weber")

    reading.press("r")
    expect(reading.page.locator("#detail .say")).to_have_text("Released: it is open to all again.")
    assert server.ask(server.department.worklist.get(study_uid(1))).claimed_by is None


def test_a_command_acts_on_the_focused_row_when_nothing_is_open(read: Read, server: LiveServer) -> None:
    """And opens what it acts on, so that nobody has to guess."""
    reading = read(server)
    reading.press("j", "j", "j", "c")

    expect(reading.page.locator("#detail .say")).to_have_text("This study is yours.")
    assert reading.opened() == study_uid(2)


def test_next_takes_the_most_urgent_that_nobody_has(read: Read, server: LiveServer) -> None:
    """n passes over what a colleague claimed, and takes another each time."""
    server.ask(server.department.worklist.claim(study_uid(0), "Dr Sato", server.department.clock.now()))
    reading = read(server)

    reading.press("n")
    expect(reading.page.locator("#detail .say")).to_have_text("This study is yours.")
    assert reading.opened() == study_uid(1)
    assert reading.focused() == study_uid(1)
    reading.press("n")
    expect(reading.row(2).locator("td.state")).to_contain_text("yours")


def test_next_keeps_to_the_filter_and_says_when_nothing_is_left(read: Read, server: LiveServer) -> None:
    """A reader of mammograms is given mammograms: studies 10 is the only one of twenty."""
    reading = read(server)
    reading.page.select_option("#modality", "MG")
    expect(reading.page.locator("#rows tr")).to_have_count(1)
    reading.press("n")
    expect(reading.page.locator("#detail .say")).to_have_text("This study is yours.")
    assert reading.opened() == study_uid(10)

    reading.press("n")
    expect(reading.page.locator("#notices")).to_contain_text("No open study is left that nobody has claimed and the filter allows.")


def test_the_filter_by_keyboard(read: Read, server: LiveServer) -> None:
    """/ goes there; letters typed there are letters; Escape clears it and gives the list back."""
    reading = read(server)
    expect(reading.page.locator("#rows tr")).to_have_count(20)
    reading.press("/")
    reading.page.keyboard.type("hip right")
    expect(reading.page.locator("#rows tr")).to_have_count(2)
    assert reading.page.input_value("#q") == "hip right"

    reading.page.keyboard.type(" ncap")
    expect(reading.page.locator("#empty")).to_have_text("No open study matches the filter.")
    assert not reading.page.locator("body").evaluate("b => b.classList.contains('privacy')")

    reading.press("Escape")
    expect(reading.page.locator("#rows tr")).to_have_count(20)
    assert reading.page.input_value("#q") == ""


def test_help_and_privacy(read: Read, server: LiveServer) -> None:
    """? lists the keys; p blurs every direct identifier, tooltips included, and is remembered by this browser."""
    reading = read(server)
    reading.press("?")
    expect(reading.page.locator("#help")).to_be_visible()
    reading.press("Escape")
    expect(reading.page.locator("#help")).to_be_hidden()

    reading.press("p", "j", "Enter")
    expect(reading.page.locator("#detail h2 .private")).to_be_visible()
    styles = reading.page.locator(".private").evaluate_all(
        "all => all.map(e => [getComputedStyle(e).filter, getComputedStyle(e).pointerEvents].join())"
    )
    assert set(styles) == {"blur(6px),none"}
    reading.page.reload()
    expect(reading.page.locator("#privacy")).to_have_attribute("aria-pressed", "true")


def test_modifiers_are_the_browsers(read: Read, server: LiveServer) -> None:
    """Ctrl+C copies; it claims nothing."""
    reading = read(server)
    reading.press("j", "Control+c")
    reading.page.wait_for_timeout(300)

    assert server.ask(server.department.worklist.get(study_uid(0))).claimed_by is None


def test_the_list_is_one_tab_stop(read: Read, server: LiveServer) -> None:
    """Tab passes from the list to the detail; a reader does not tab through three hundred rows."""
    reading = read(server)
    reading.press("j", "j", "j")

    assert reading.page.locator('#rows a[tabindex="0"]').count() == 1
    reading.press("Tab")
    assert reading.focused() is None
    reading.press("Shift+Tab")
    assert reading.focused() == reading.uids()[2]
