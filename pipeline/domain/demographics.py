"""Age and sex, as far as a topic may know them."""

from __future__ import annotations

import re
from datetime import date, datetime

from schemas.codes import Sex

OLDEST = 90.0
"""Stands for 90 and over: exact ages beyond are identifying (45 CFR 164.514(b)(2)(i)(C))."""

OLDEST_CREDIBLE = 130

_SEXES: dict[str, Sex] = {"F": "F", "FEMALE": "F", "W": "F", "M": "M", "MALE": "M", "O": "O", "OTHER": "O", "A": "O"}


def age_at(birth_date: str | None, moment: datetime) -> float | None:
    """Whole years from 2 on, hundredths below, 90 for 90 and over; finer would tell the birthday.

    `birth_date`: YYYY[-]MM[-]DD; of a year or month alone the middle is taken. None: unknown or impossible.
    """
    match = re.match(r"(\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?", (birth_date or "").strip())
    if match is None:
        return None
    try:
        born = date(int(match[1]), int(match[2] or 7), int(match[3] or (15 if match[2] else 1)))
    except ValueError:
        return None
    today = moment.date()
    if not 0 <= (today - born).days <= OLDEST_CREDIBLE * 366:
        return None
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return min(float(years), OLDEST) if years >= 2 else round((today - born).days / 365.25, 2)


def sex_of(code: str | None) -> Sex:
    """HL7 table 0001, DICOM (0010,0040) and FHIR administrative-gender, reduced; unknown where it says nothing we know."""
    return _SEXES.get((code or "").strip().upper(), "U")
