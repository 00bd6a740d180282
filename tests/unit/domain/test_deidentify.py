"""Free text loses the patient's own identifiers before it enters a topic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.deidentify import REMOVED, scrub


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr MÜLLER fell", "Mr [removed] fell"),
        ("Herr Mueller, Änne", "Herr [removed], [removed]"),
        ("muller's hip", "[removed]'s hip"),
        ("Müllerstraße is no name", "Müllerstraße is no name"),
        ("MRN 00123456, again 00123456.", "MRN [removed], again [removed]."),
        ("100123456 is another", "100123456 is another"),
        ("born 02.01.1970", "born [removed]"),
        ("born 2.1.70", "born [removed]"),
        ("born 1/2/1970", "born [removed]"),
        ("born 1970-01-02 here", "born [removed] here"),
        ("DOB 19700102", "DOB [removed]"),
        ("born 2 January 1970", "born [removed]"),
        ("born January 2nd, 1970", "born [removed]"),
        ("geb. 2. Januar 1970", "geb. [removed]"),
        ("Mu\u0308ller in two code points", "[removed] in two code points"),
        ("K 6.1, lesion A 2 mm", "K 6.1, lesion A 2 mm"),
    ],
)
def test_own_identifiers_go_and_nothing_else(text: str, expected: str) -> None:
    """Names in any spelling, ids as whole words, the birth date however written."""
    assert scrub(text, ["Müller", "Änne^A"], ["00123456", "7"], "19700102") == expected


def test_a_name_written_without_umlaut_is_found_with_it() -> None:
    """Mueller in PID-5, Müller in the text."""
    assert scrub("Frau Müller", ["MUELLER"]) == f"Frau {REMOVED}"


def test_nothing_known_nothing_changed() -> None:
    """Without identifiers the text stays as it is."""
    assert scrub("chest pain") == "chest pain"


@given(st.text(max_size=60), st.lists(st.text(max_size=12), max_size=3), st.lists(st.text(max_size=12), max_size=3), st.text(max_size=10))
def test_no_identifier_can_break_the_search(text: str, names: list[str], ids: list[str], birthdate: str) -> None:
    """Names and ids are text, not patterns."""
    scrub(text, names, ids, birthdate)
