"""Codes and units of the sources, mapped to the catalogue or kept with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.catalogue import BY_NAME, OBSERVABLES
from pipeline.domain.terminology import Mapped, Unmapped, map_observation, observable_of
from pipeline.domain.terminology_table import ROWS


def check_digit(code: str) -> str:
    """LOINC's mod 10 (LOINC Users' Guide, appendix)."""
    digits = [int(digit) for digit in reversed(code.split("-")[0])]
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 == 0 else digit for place, digit in enumerate(digits)]
    return str(-sum(doubled) % 10)


@pytest.mark.parametrize("code", sorted({*OBSERVABLES, *(code for row in ROWS for code in row.loincs)}))
def test_every_loinc_code_of_the_tables_is_one(code: str) -> None:
    """A mistyped LOINC code fails its check digit."""
    assert code.endswith("-" + check_digit(code))


@pytest.mark.parametrize("loinc", OBSERVABLES)
def test_the_catalogue_maps_to_itself(loinc: str) -> None:
    """The catalogue's own code in its own unit keeps its value."""
    assert map_observation(loinc, None, None, 5.5, OBSERVABLES[loinc].unit) == Mapped(loinc, 5.5, OBSERVABLES[loinc].unit)


@pytest.mark.parametrize(
    ("loinc", "code", "name", "value", "unit", "expected", "mapped_value"),
    [
        ("14682-9", None, None, 88.42, "umol/L", "creatinine", 1.0),
        (None, "KREA", "Kreatinin i.S.", 88.42, "µmol/l", "creatinine", 1.0),
        ("14749-6", None, None, 5.55, "mmol/L", "glucose", 99.9866),
        ("2339-0", None, None, 90, "mg/dL", "glucose", 90.0),
        (None, "HGB", "Hemoglobin", 134, "g/L", "haemoglobin", 13.4),
        ("20509-6", None, None, 134, "g.l-1", "haemoglobin", 13.4),
        (None, None, "Temp", 101.3, "degF", "temperature", 38.5),
        (None, "K", "Potassium", 4.1, "mEq/L", "potassium", 4.1),
        (None, "TNT", "hs Troponin T", 52, "ng/L", "troponin_t", 0.052),
        ("76282-3", None, None, 80, "beats/min", "heart_rate", 80.0),
        ("8867-4", None, None, 80, "{Beats}/min", "heart_rate", 80.0),
        ("2708-6", None, None, 93, "%", "spo2", 93.0),
        ("6299-2", None, None, 14, "mg/dL", "urea_nitrogen", 14.0),
        ("22664-7", None, None, 5, "mmol/L", "urea_nitrogen", 14.0065),
        ("3091-6", None, None, 30, "mg/dL", "urea_nitrogen", 13.9919),
        ("48066-5", None, None, 250, "ng/mL", "d_dimer", 0.5),
        ("48065-7", None, None, 500, "ng/mL{FEU}", "d_dimer", 0.5),
        (None, "PLT", None, 220, "x10^9/L", "platelets", 220.0),
        (None, "PLT", None, 220000, "/µL", "platelets", 220.0),
        ("11557-6", None, None, 5.3, "kPa", "pco2", 39.7533),
        (None, "2951-2", "whatever", 140, "mmol/L", "sodium", 140.0),
        (None, None, "Blood pH", 7.32, None, "ph", 7.32),
        ("1988-5", None, None, 1.2, "mg/dL", "crp", 12.0),
        ("67775-7", None, None, "Voice", None, "acvpu", 2.0),
        ("67775-7", None, None, "LA6560-2", None, "acvpu", 1.0),
        ("9269-2", None, None, "13", "{score}", "gcs", 13.0),
        (None, "FiO2", None, 0.4, "{fraction}", "fio2", 40.0),
    ],
)
def test_usual_codes_and_units(
    loinc: str | None, code: str | None, name: str | None, value: float | str, unit: str | None, expected: str, mapped_value: float
) -> None:
    """Local names, LOINC variants and units of daily life arrive in the catalogue's unit."""
    observable = BY_NAME[expected]
    assert map_observation(loinc, code, name, value, unit) == Mapped(observable.loinc, mapped_value, observable.unit)


@pytest.mark.parametrize(
    ("loinc", "code", "name", "value", "unit", "reason"),
    [
        ("2350-7", "GLU", "Glucose", 90, "mg/dL", "code-unknown"),  # glucose in urine: the LOINC code decides
        (None, "XYZ", "Sodium urine", 40, "mmol/L", "code-unknown"),
        (None, None, None, 1, None, "code-unknown"),
        (None, "K", "Natrium", 4, "mmol/L", "code-ambiguous"),
        ("2345-7", None, None, 5.5, None, "unit-missing"),
        (None, "Temp", None, 38, "", "unit-missing"),
        (None, "PLT", None, 220, None, "unit-missing"),
        (None, "D-Dimer", None, 500, "ng/mL", "unit-mismatch"),  # FEU or DDU? a factor of two
        ("26499-4", None, "Neutrophils", 72, "%", "unit-mismatch"),
        ("2823-3", None, None, 4.1, "mg/dL", "unit-mismatch"),
        ("20509-6", None, None, 13.4, "g/l-1", "unit-mismatch"),  # no unit at all: neither g.l-1 nor g/l
        ("2823-3", None, None, "haemolysed", "mmol/L", "not-numeric"),
    ],
)
def test_what_cannot_be_mapped_says_why(
    loinc: str | None, code: str | None, name: str | None, value: float | str, unit: str | None, reason: str
) -> None:
    """Nothing is guessed: an unknown code, a missing or foreign unit leave the observation as it came."""
    assert map_observation(loinc, code, name, value, unit) == Unmapped(reason)  # type: ignore[arg-type]


def test_a_name_means_one_observable_only() -> None:
    """No local name stands for two observables of the catalogue."""
    for row in ROWS:
        for name in row.names:
            assert observable_of(None, name, None) == BY_NAME[row.name].loinc, name


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.floats() | st.text(max_size=10), st.text(max_size=10))
def test_any_code_and_unit_is_mapped_or_kept(loinc: str, code: str, name: str, value: float | str, unit: str) -> None:
    """No text can raise."""
    assert isinstance(map_observation(loinc, code, name, value, unit), Mapped | Unmapped)
