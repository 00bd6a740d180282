"""Every patient can be told from every other, whatever their name and age look like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from schemas.assessments import Evidence, StudyState
from schemas.worklist import Reason
from tests.e2e.department import Department, study_uid
from tests.e2e.live_server import LiveServer, SteeredClock
from tests.e2e.reading import Read

LONG = "Wolfeschlegelsteinhausenbergerdorff^Maximiliane Friederike-X"
ARABIC = "عبد الرحمن^محمد"
HEBREW = "כהן-לוי^אברהם"
CJK = "Yamada^Tarou=山田^太郎=やまだ^たろう"
VIEWPORTS = {"beside a PACS": (1280, 800), "wide": (1920, 1080), "phone": (390, 844), "small phone": (320, 640)}


@pytest.fixture(scope="module")
def hospital() -> Iterator[LiveServer]:
    """Ten studies: the hard cases. The tests only look."""
    clock = SteeredClock()
    department = Department.empty(clock)
    for number, name in enumerate((LONG, ARABIC, HEBREW, CJK)):
        department.arrive(number, name=name)
    department.arrive(4, age=3 / 365.25)
    department.know(department.arrive(5).patient, None)
    department.arrive(6, name="Meyer^Anna", age=40.0)
    department.arrive(7, name="Meyer^Anna", age=71.0)
    department.arrive(8, age=None, sex="U", study=StudyState(study_uid=study_uid(8), ready_at=clock.now()))
    midnight = clock.now().replace(hour=0, minute=0)
    dated = Evidence(
        kind="critical-lab", code="potassium", label="K 6.8 mmol/L of 2026-03-01, critical", severity=1, at=midnight, when="2026-03-01"
    )
    department.arrive(9, reasons=[Reason(evidence=dated, minutes=30, binding=True)])
    with LiveServer(department).running() as server:
        yield server


@pytest.mark.parametrize("size", VIEWPORTS.values(), ids=VIEWPORTS.keys())
def test_no_name_breaks_the_layout(read: Read, hospital: LiveServer, size: tuple[int, int]) -> None:
    """Nothing scrolls sideways, list or detail; every row has the same height; the time left is never cut off."""
    reading = read(hospital, viewport={"width": size[0], "height": size[1]})
    expect(reading.row(0)).to_be_visible()

    heights = reading.page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    overflowing = "cells => cells.filter(c => c.scrollWidth > c.clientWidth).map(c => c.innerText)"
    cut = reading.page.locator("#rows td.time").evaluate_all(overflowing)
    inside = reading.page.locator("#scroller").evaluate("s => s.scrollWidth - s.clientWidth")
    assert (len(set(heights)), cut, inside, reading.sideways()) == (1, [], 0, 0)

    reading.row(0).click()
    expect(reading.page.locator("#detail h2")).to_contain_text("Wolfeschlegelsteinhausenbergerdorff, Maximiliane Friederike-X")
    assert reading.page.locator("#detail").evaluate("d => d.scrollWidth - d.clientWidth") == 0
    assert reading.sideways() == 0


def test_a_name_of_sixty_letters_is_there_in_full(read: Read, hospital: LiveServer) -> None:
    """Cut in the row, whole in its title; age and sex stay visible beside it."""
    row = read(hospital).row(0)

    assert row.locator("bdi").get_attribute("title") == "Wolfeschlegelsteinhausenbergerdorff, Maximiliane Friederike-X"
    cell, who = row.locator("td.patient").bounding_box(), row.locator(".who").bounding_box()
    assert cell and who
    assert who["x"] + who["width"] <= cell["x"] + cell["width"] + 1


@pytest.mark.parametrize(("number", "name"), [(1, "عبد الرحمن, محمد"), (2, "כהן-לוי, אברהם")])
def test_a_name_written_from_right_to_left_turns_nothing_else(read: Read, hospital: LiveServer, number: int, name: str) -> None:
    """The name is isolated: it reads from the right, age and sex stand after it as on every row."""
    row = read(hospital).row(number)

    expect(row.locator("bdi")).to_have_text(name)
    assert row.locator("bdi").evaluate("b => getComputedStyle(b).direction") == "rtl"
    name_box, who = row.locator("bdi").bounding_box(), row.locator(".who").bounding_box()
    assert name_box and who
    assert name_box["x"] + name_box["width"] <= who["x"] + 1


def test_a_name_in_several_writings(read: Read, hospital: LiveServer) -> None:
    """The alphabetic one in the row, the ideographic one beside it in the detail (PS3.5 section 6.2.1)."""
    reading = read(hospital)
    reading.row(3).click()

    expect(reading.row(3).locator("bdi")).to_have_text("Yamada, Tarou")
    expect(reading.page.locator("#detail h2")).to_contain_text("山田, 太郎")


def test_what_is_not_known_is_said(read: Read, hospital: LiveServer) -> None:
    """No name, no age, no description: words, not blanks."""
    reading = read(hospital)

    expect(reading.row(5).locator("a")).to_have_text("no name")
    expect(reading.row(8).locator(".who")).to_have_text("age unknown U")
    expect(reading.row(8).locator("td.what")).to_have_text("unknown study")
    expect(reading.row(8).locator("td.where")).to_have_text("place unknown")


def test_a_date_without_a_time_is_no_midnight(read: Read, hospital: LiveServer) -> None:
    """Beside its reason stands what the source told, not the start of that day."""
    reading = read(hospital)
    reading.row(9).click()

    expect(reading.page.locator("#detail .reasons .binding td:nth-child(2)")).to_contain_text("2026-03-01")
    expect(reading.page.locator("#detail .reasons .binding")).not_to_contain_text("00:00")


def test_a_newborn_is_days_old(read: Read, hospital: LiveServer) -> None:
    """An age of three days is not zero years."""
    reading = read(hospital)
    expect(reading.row(4).locator(".who")).to_contain_text("3 d")


def test_two_patients_of_one_name_are_marked_with_their_births(read: Read, hospital: LiveServer) -> None:
    """Both rows, by a word and by what tells the two apart; nobody else is marked."""
    reading = read(hospital)
    marks = reading.page.locator('#rows .mark[data-kind="twin"]')

    expect(marks).to_have_count(2)
    births = marks.all_inner_texts()
    assert all("same name *1" in birth or "same name *2" in birth for birth in births)
    assert births[0] != births[1]
    assert {reading.row(6).locator(".mark[data-kind=twin]").count(), reading.row(7).locator(".mark[data-kind=twin]").count()} == {1}


def test_no_name_without_a_reader(read: Read, hospital: LiveServer) -> None:
    """Who has not said who they are sees the order and the reasons, no name, birth date or number."""
    reading = read(hospital, reader=None)
    reading.page.get_by_role("button", name="Look without names").click()
    reading.row(6).click()

    expect(reading.page.locator("#detail h2")).to_have_text("Name not shown")
    assert not {"Meyer", "A26000006", "4711006", "born"} & set(reading.text("body").replace(",", " ").split())
