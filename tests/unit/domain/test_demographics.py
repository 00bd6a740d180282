"""Age in years, and never more of it than a topic may know."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.domain.demographics import age_at, sex_of

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("born", "age"),
    [("19761124", 50.0), ("1976-11-24", 50.0), ("1976", 50.0), ("197611", 50.0), ("20261014", 0.11), ("19200101", 90.0)],
)
def test_age_of_a_birth_date(born: str, age: float) -> None:
    """A year or month alone stands for its middle; infants get hundredths; 90 stands for 90 and over."""
    assert age == age_at(born, NOW)


@pytest.mark.parametrize("born", [None, "", "unknown", "20270101", "17000101", "19761340"])
def test_an_impossible_birth_date_gives_no_age(born: str | None) -> None:
    """Nothing is guessed."""
    assert age_at(born, NOW) is None


def test_sex_of_what_nobody_knows_is_unknown() -> None:
    """Codes of HL7, DICOM and FHIR are understood, others are not guessed."""
    assert [sex_of(code) for code in ("female", "M", "A", "?", None)] == ["F", "M", "O", "U", "U"]
