"""Critical laboratory values: the table's limits, the laboratory's own marks, validity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.domain.critical_labs import TABLE, Row, find, limit
from pipeline.domain.readings import Reading

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def critical(name, value, flag=None, age=60, hours=1, table=TABLE):
    return find({name: [Reading(NOON - timedelta(hours=hours), value, flag)]}, NOON, age, table)


VECTORS = [
    ("potassium", 6.1, 6.2),
    ("potassium", 3.0, 2.9),
    ("sodium", 160, 161),
    ("sodium", 120, 119),
    ("glucose", 450, 451),
    ("glucose", 55, 54),
    ("calcium", 13.0, 13.1),
    ("calcium", 6.0, 5.9),
    ("ionised_calcium", 1.57, 1.58),
    ("ionised_calcium", 0.79, 0.78),
    ("magnesium", 9.0, 9.1),
    ("magnesium", 1.0, 0.9),
    ("phosphate", 9.0, 9.1),
    ("phosphate", 1.0, 0.9),
    ("bicarbonate", 40, 41),
    ("bicarbonate", 10, 9),
    ("ph", 7.59, 7.6),
    ("ph", 7.26, 7.25),
    ("pco2", 59, 60),
    ("pco2", 21, 20),
    ("po2", 41, 40),
    ("haemoglobin", 21.0, 21.1),
    ("haemoglobin", 7.1, 7.0),
    ("platelets", 999, 1000),
    ("platelets", 21, 20),
    ("wbc", 39, 40),
    ("wbc", 2.1, 2.0),
    ("neutrophils", 1.0, 0.9),
    ("inr", 4.9, 5.0),
    ("aptt", 84, 85),
    ("fibrinogen", 100, 99),
    ("troponin_i", 0.29, 0.30),
    ("creatinine", 4.9, 5.0),
]
"""(analyte, the last value that is not critical, the first that is) of each side of each row of the table."""


@pytest.mark.parametrize(("name", "safe", "beyond"), VECTORS)
def test_limits(name, safe, beyond):
    """A value is critical exactly where the table's sign says so."""
    assert critical(name, safe) == []
    assert [name] == [one.name for one in critical(name, beyond)]


def test_there_is_a_vector_for_every_limit():
    """A side that is changed, or new, is a test."""
    sides = {(name, limit.high) for name, (row,) in TABLE.items() for limit in row.limits}

    assert {(name, beyond > safe) for name, safe, beyond in VECTORS} == sides


def test_words():
    """The limit and the way back are said as the sign demands."""
    potassium, inr = critical("potassium", 6.8)[0].limit, critical("inr", 6)[0].limit

    assert (potassium.words, potassium.safe_words) == ("above 6.1", "6.1 or below")
    assert (inr.words, inr.safe_words) == ("5 or above", "below 5")


@pytest.mark.parametrize("flag", ["LL", "HH", "AA"])
def test_laboratory_marks_first(flag):
    """A value that its laboratory marks as critical is critical, whatever our table says, in a child too."""
    assert critical("potassium", 5.9, flag)[0].minutes == 30
    assert critical("potassium", 5.9, flag, age=2)
    assert critical("potassium", 5.9, "H") == []


def test_children():
    """The table is for adults; an unknown age is held to it."""
    assert critical("haemoglobin", 6.5, age=3) == []
    assert critical("haemoglobin", 6.5, age=None)


def test_further_beyond_is_sooner():
    """30 minutes at the limit, falling with the distance, never under 15."""
    minutes = [critical("potassium", value)[0].minutes for value in (6.11, 6.5, 7.0, 7.6, 9.0)]

    assert minutes == sorted(minutes, reverse=True)
    assert pytest.approx(minutes[0], abs=0.2) == 30
    assert pytest.approx(minutes[-1]) == 15


def test_validity():
    """A potassium is stale after 12 h and unknown after 24 h."""
    assert [critical("potassium", 7, hours=hours)[0].stale for hours in (11, 13)] == [False, True]
    assert critical("potassium", 7, hours=25) == []


def test_only_the_newest_counts():
    """A value that has come back to normal is not critical any more."""
    series = [Reading(NOON - timedelta(hours=2), 7.0), Reading(NOON - timedelta(hours=1), 5.0)]

    assert find({"potassium": series}, NOON, 60) == []


def test_every_low_limit_is_below_its_high_one():
    """No row of the table calls everything critical."""
    for name, (row,) in TABLE.items():
        bounds = [limit.bound for limit in row.limits]

        assert bounds == sorted(bounds), name


def test_a_sites_rows():
    """Of an analyte's rows the first that covers the age counts; an unknown age is an adult's; no row, no limit."""
    child, adult = (Row((limit("potassium", bound, high=True, inclusive=False),), *ages) for bound, ages in ((6.5, (1, 16)), (6.0, (16,))))
    table = {"potassium": (child, adult)}

    found = {age: critical("potassium", 6.1, age=age, table=table) for age in (0.5, 1, 15.9, 16, 60, None)}
    assert {age for age, one in found.items() if one} == {16, 60, None}
    assert critical("potassium", 6.6, age=1, table=table)
    assert critical("sodium", 100, table=table) == []
