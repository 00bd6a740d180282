"""The list moves, never under the hand of a reader, and what is opened is a study, not a place in the list."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Route, expect

from tests.e2e.department import study_uid
from tests.e2e.live_server import LiveServer
from tests.e2e.reading import PATIENT, Read, Reading


def urgent(server: LiveServer, number: int, minutes: float = -30) -> None:
    """A critical value puts a study before all others."""
    server.happen(lambda: server.department.due_in(number, minutes))


def waiting(reading: Reading, words: str) -> None:
    """The bar above the list."""
    expect(reading.page.locator("#waiting-words")).to_contain_text(words)


def test_a_changed_rank_is_shown_at_once_and_marked(read: Read, server: LiveServer) -> None:
    """With nobody's hand on the list the row moves, says by how many places, and why."""
    reading = read(server)
    urgent(server, 12)

    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))
    expect(reading.row(12).locator(".move")).to_have_text("▲12")
    expect(reading.row(12).locator("td.rank")).to_have_attribute("title", "Was 13, is 1: K 7.1 at 10:12")
    expect(reading.row(12)).to_have_class("moved")


def test_the_row_under_the_pointer_does_not_move(read: Read, server: LiveServer) -> None:
    """The change waits above the list; a click opens what was there; leaving the list applies it."""
    reading = read(server)
    reading.row(4).hover()
    before = reading.uids()

    urgent(server, 12)

    waiting(reading, "1 change above")
    assert reading.uids() == before
    reading.page.mouse.down()
    reading.page.mouse.up()
    expect(reading.page.locator("#detail .reasons")).to_be_visible()
    assert reading.opened() == study_uid(4)
    reading.page.mouse.move(1300, 500)
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))
    expect(reading.page.locator("#waiting")).to_be_hidden()
    assert reading.focused() == study_uid(4)


def test_the_focused_row_does_not_move_and_keeps_the_focus(read: Read, server: LiveServer) -> None:
    """By keyboard as by pointer; `.` applies, and the focus stays on the study, wherever it is then."""
    reading = read(server)
    reading.press("j", "j", "j")
    before = reading.uids()
    assert reading.focused() == before[2]

    urgent(server, 12)

    waiting(reading, "1 change above")
    assert reading.uids() == before
    reading.press(".")
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))
    assert reading.focused() == before[2]
    assert reading.uids().index(before[2]) == 3


def test_the_button_applies_what_waits(read: Read, server: LiveServer) -> None:
    """A new urgent study is named before it is applied; the button stays while the pointer is on its way to it and on it."""
    reading = read(server)
    reading.row(0).hover()
    server.happen(lambda: server.department.arrive(40, due_at=server.department.clock.now() + timedelta(minutes=2)))

    waiting(reading, "New: ")
    reading.page.locator("#order").hover()
    reading.page.wait_for_timeout(500)
    waiting(reading, "New: ")
    reading.page.locator("#apply").click()

    expect(reading.row(40)).to_be_visible()


def test_a_held_list_moves_again_when_nobody_has_touched_anything_for_a_minute(read: Read, server: LiveServer) -> None:
    """A pointer that was left lying on the list does not hold it for ever; a click just after the move opens nothing."""
    reading = read(server, script=FAKE_LATER)
    reading.row(4).hover()
    urgent(server, 12)
    waiting(reading, "1 change above")

    reading.page.evaluate("later(61_000)")
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))


def test_a_click_just_after_a_move_opens_nothing(read: Read, server: LiveServer) -> None:
    """It may have meant the row that was there before: the page says so and opens neither."""
    reading = read(server)
    reading.page.evaluate("""() => {
        const rows = document.getElementById("rows");
        const click = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 });
        const land = (_, observer) => { observer.disconnect(); rows.querySelector("tr:nth-child(5) a").dispatchEvent(click); };
        new MutationObserver(land).observe(rows, { childList: true });
    }""")
    urgent(server, 12)

    expect(reading.page.locator("#notices")).to_contain_text("The list moved just now: click again.")
    assert reading.opened() is None


def test_a_click_on_a_row_that_stayed_where_it_was_opens_it(read: Read, server: LiveServer) -> None:
    """A list that moves all the time elsewhere does not make a reader click twice."""
    reading = read(server)
    reading.page.evaluate("""() => {
        const rows = document.getElementById("rows");
        const click = new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 });
        const land = (_, observer) => { observer.disconnect(); rows.querySelector("tr:nth-child(5) a").dispatchEvent(click); };
        new MutationObserver(land).observe(rows, { childList: true });
    }""")
    urgent(server, 17, 40)

    expect(reading.page.locator("#detail .reasons")).to_be_visible()
    assert reading.opened() == study_uid(4)


def test_a_late_answer_does_not_replace_the_study_that_was_opened_after(read: Read, server: LiveServer) -> None:
    """Opening is bound to the study's UID: the slow one is dropped."""
    reading, held = read(server, script=PATIENT), list[Route]()
    reading.page.route(f"**/{study_uid(2)}/timeline", lambda route: held.append(route))
    reading.row(2).click()
    expect(reading.page.locator("#detail")).to_contain_text("Opening…")
    reading.row(6).click()
    name = reading.row(6).locator("bdi").inner_text()

    expect(reading.page.locator("#detail h2")).to_have_text(name)
    with reading.page.expect_response(f"**/{study_uid(2)}/timeline"):
        held[0].continue_()
    reading.page.wait_for_timeout(200)
    expect(reading.page.locator("#detail h2")).to_have_text(name)
    assert reading.opened() == study_uid(6)


def test_an_address_opens_its_study_wherever_it_stands(read: Read, server: LiveServer) -> None:
    """A link to a study is a link to that study, whatever its rank has become meanwhile."""
    urgent(server, 9)
    reading = read(server, path=f"/study/{study_uid(9)}")

    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(9))
    expect(reading.page.locator("#detail h2")).to_have_text(reading.row(9).locator("bdi").inner_text())
    expect(reading.row(9)).to_have_class("open-here")


def test_back_and_forward(read: Read, server: LiveServer) -> None:
    """The browser's own buttons close and open the study."""
    reading = read(server)
    reading.row(3).click()
    expect(reading.page.locator("#detail .reasons")).to_be_visible()

    reading.page.go_back()
    expect(reading.page.locator("#detail .nothing")).to_be_visible()
    reading.page.go_forward()
    expect(reading.page.locator("#detail .reasons")).to_be_visible()
    assert reading.opened() == study_uid(3)


def test_a_reported_study_leaves_the_list(read: Read, server: LiveServer) -> None:
    """At once, and the open detail says where it went."""
    reading = read(server)
    reading.row(3).click()
    expect(reading.page.locator("#detail .reasons")).to_be_visible()
    reading.rest()

    server.happen(lambda: server.department.report(3))

    expect(reading.row(3)).to_have_count(0)
    expect(reading.page.locator("#detail .clock")).to_have_text("Left the list: reported")
    expect(reading.page.locator("#count-open")).to_have_text("19")


def test_only_new_criticals_are_announced(read: Read, server: LiveServer) -> None:
    """The live region is silent at first and for what is not pressing; a study that has newly become so is told with its reason."""
    reading = read(server)
    spoken = reading.page.locator("#announce")
    server.happen(lambda: server.department.due_in(17, 55))
    expect(reading.row(17).locator("td.why")).to_contain_text("K 7.1")
    assert spoken.text_content() == ""

    urgent(server, 12, 3.5)

    expect(spoken).to_have_text("Urgent: CT Head without contrast, CLINIC 4, due in 3 min: K 7.1 at 10:12")


FAKE_LATER = """
    let shift = 0;
    const real = performance.now.bind(performance);
    performance.now = () => real() + shift;
    window.later = (ms) => { shift += ms; };
"""
