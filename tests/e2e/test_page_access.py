"""For every eye and every browser: axe finds nothing, the Content-Security-Policy has nothing to stop, a screen reader hears the order."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.e2e.department import Department, study_uid
from tests.e2e.live_server import LiveServer, SteeredClock
from tests.e2e.reading import Read, Reading, Serve

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def violations(reading: Reading) -> list[str]:
    """What axe has to say, rule and place."""
    found = Axe().run(reading.page).response["violations"]
    return [f"{one['id']}: {node['target']} {node['html'][:80]} {node.get('failureSummary', '')}" for one in found for node in one["nodes"]]


@pytest.fixture
def varied(serve: Serve, clock: SteeredClock) -> LiveServer:
    """All marks and states on one page."""
    department = Department.busy(clock, 30)
    department.arrive(31, name="Hoffmann^Karl")
    server = serve(department)
    server.ask(department.worklist.claim(study_uid(1), "Dr Weber", clock.now()))
    server.ask(department.worklist.claim(study_uid(2), "Dr Sato", clock.now()))
    server.ask(department.worklist.acknowledge(study_uid(3), "Dr Sato", clock.now()))
    return server


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(read: Read, varied: LiveServer, theme: str, viewport: dict[str, int]) -> None:
    """The list, a study open beside it, changes waiting, the help, the question who is reading, and a lost connection."""
    reading = read(varied, script=f"localStorage.setItem('readfirst-theme', '{theme}')", viewport=viewport)
    expect(reading.row(0)).to_be_visible()
    assert reading.page.evaluate("document.documentElement.dataset.theme") == theme
    assert violations(reading) == []

    if viewport == WIDE:
        reading.row(4).hover()
        varied.happen(lambda: varied.department.due_in(12, -30))
        expect(reading.page.locator("#waiting")).to_be_visible()
        assert violations(reading) == []
        reading.rest()
        expect(reading.row(12)).to_have_class("moved")
        assert violations(reading) == []
        reading.page.wait_for_timeout(700)  # for so long a click may have meant the row that was there before

    reading.row(0).click()
    expect(reading.page.locator("#detail .timeline")).to_be_visible()
    assert violations(reading) == []

    reading.press("?")
    expect(reading.page.locator("#help")).to_be_visible()
    assert violations(reading) == []
    reading.press("Escape")
    reading.page.locator("#reader").click()
    expect(reading.page.locator("#who")).to_be_visible()
    assert violations(reading) == []
    reading.press("Escape")

    varied.faults.down = True
    varied.happen(lambda: varied.department.due_in(14, 90))
    expect(reading.page.locator("#connection")).to_contain_text("Connection lost")
    assert violations(reading) == []


def test_the_policy_is_strict_and_nothing_offends_it(read: Read, varied: LiveServer) -> None:
    """No inline script or style, nobody else's server, no markup from strings; the fixture fails on a violation told on the console."""
    reading = read(varied)
    policy = reading.page.goto(varied.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy

    told = reading.page.evaluate("""() => new Promise(done => {
        addEventListener("securitypolicyviolation", event => done(event.effectiveDirective), { once: true });
        const style = document.createElement("style");
        style.textContent = "body { color: red }";
        document.head.append(style);
    })""")
    assert told == "style-src-elem"
    assert len(reading.faults) == 1 and "style-src" in reading.faults[0]
    reading.faults.clear()


def test_a_screen_reader_hears_the_order(read: Read, varied: LiveServer) -> None:
    """A table with named columns; its rows come in the order of the ranks, also after a change."""
    reading = read(varied)
    varied.happen(lambda: varied.department.due_in(12, -30))
    expect(reading.page.locator("#rows tr").first).to_have_attribute("data-uid", study_uid(12))

    table = reading.page.get_by_role("table", name="Open studies, most urgent first")
    assert table.get_by_role("columnheader").all_inner_texts()[1:3] == ["Time left", "Patient"]
    ranks = reading.page.locator("#rows td.rank span:last-child").all_inner_texts()
    assert ranks == [str(rank) for rank in range(1, len(ranks) + 1)]


def test_no_meaning_by_colour_alone(read: Read, varied: LiveServer) -> None:
    """In grey, overdue still says over, soon still says due, and every mark has a word."""
    reading = read(varied)
    expect(reading.row(0)).to_have_attribute("data-urgency", "late")

    assert reading.row(0).locator(".due").inner_text().startswith("over by")
    assert reading.row(0).locator(".due").evaluate("d => getComputedStyle(d, '::before').content") == '"! "'
    assert all(word.strip() for word in reading.page.locator("#rows .mark").all_inner_texts())


def test_it_is_said_once_that_this_is_no_medical_device(read: Read, varied: LiveServer) -> None:
    """Plainly, and not again and again."""
    reading = read(varied)
    assert reading.text("body").count("not a medical device") == 1
