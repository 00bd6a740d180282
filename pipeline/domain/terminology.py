"""From a source's codes and units to the catalogue's LOINC and UCUM; what cannot be mapped says why, and is never guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.terminology_table import ACVPU, ROWS, Row
from schemas.codes import AbnormalFlag

UnmappedReason = Literal["code-unknown", "code-ambiguous", "unit-missing", "unit-mismatch", "not-numeric"]

_SEVERITY: tuple[AbnormalFlag, ...] = ("AA", "HH", "LL", "A", "H", "L", "N")
_SPECIMEN_WORDS = {"serum", "plasma", "blood", "ser", "plas", "bld", "level", "lvl", "quant", "serplas", "arterial", "venös", "im", "i"}
_KEPT_SIGNS = re.compile(r"[^\w+#\-]+")


@dataclass(frozen=True, slots=True)
class Mapped:
    """An observable of the catalogue: its LOINC code, the value in its UCUM unit."""

    loinc: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Kept as it came, and counted under this reason."""

    reason: UnmappedReason


def map_observation(
    loinc: str | None, local_code: str | None, local_name: str | None, value: float | str, unit: str | None
) -> Mapped | Unmapped:
    """`unit` as the source wrote it, UCUM code or text. A LOINC code decides alone; local code and name only speak where there is none.

    A text value is understood for coded scales (ACVPU) and where it is a number.
    """
    rows = _rows(loinc, local_code, local_name)
    if not rows:
        return Unmapped("code-unknown")
    if len({row.name for row in rows}) > 1:
        return Unmapped("code-ambiguous")
    number = _number(rows[0].name, value)
    if number is None:
        return Unmapped("not-numeric")
    return _convert(rows, number, plain_unit(unit))


def observable_of(loinc: str | None, local_code: str | None, local_name: str | None) -> str | None:
    """The catalogue's LOINC code for what is measured, whatever its value and unit; None when unknown or ambiguous."""
    names = {row.name for row in _rows(loinc, local_code, local_name)}
    return BY_NAME[names.pop()].loinc if len(names) == 1 else None


def most_severe(codes: Collection[str]) -> AbnormalFlag | None:
    """Of the codes of HL7 table 0078 that one result carries; LL and HH are critical, AA very abnormal."""
    return next((flag for flag in _SEVERITY if flag in codes), None)


def plain_unit(unit: str | None) -> str:
    """The spelling under which the table knows a unit: lower case, no blanks, u for micro."""
    text = re.sub(r"\s+", "", unit or "").replace("µ", "u").replace("μ", "u").replace("×", "x").replace("³", "3").replace("⁹", "^9")
    text = text.lower().replace("mcg", "ug").replace("mcl", "ul").replace("mcmol", "umol").replace("litre", "l").replace("liter", "l")
    return re.sub(r"/(l|dl|ml|ul)(?:s)?$", r"/\1", text)


def _plain_name(text: str) -> str:
    words = [word for word in _KEPT_SIGNS.split(text.lower()) if word]
    kept = [word for word in words if word not in _SPECIMEN_WORDS]
    return "".join(kept or words).replace("-", "")


def _index(pairs: Iterable[tuple[str, Row]]) -> dict[str, list[Row]]:
    index: dict[str, list[Row]] = {}
    for key, row in pairs:
        index.setdefault(key, []).append(row)
    return index


_BY_LOINC = _index((code, row) for row in ROWS for code in row.loincs)
_BY_LOCAL = _index((_plain_name(name), row) for row in ROWS for name in row.names)
_ACVPU = {_plain_name(word): value for value, words in ACVPU.items() for word in words}


def _rows(loinc: str | None, local_code: str | None, local_name: str | None) -> list[Row]:
    if loinc:
        return _BY_LOINC.get(loinc.strip(), [])
    if local_code and local_code.strip() in _BY_LOINC:  # a LOINC code whose system was left out: its check digit rules out chance
        return _BY_LOINC[local_code.strip()]
    by_code = _BY_LOCAL.get(_plain_name(local_code or ""), [])
    by_name = _BY_LOCAL.get(_plain_name(local_name or ""), [])
    return [*by_code, *(row for row in by_name if row not in by_code)]


def _number(name: str, value: float | str) -> float | None:
    if isinstance(value, float | int):
        return float(value) if math.isfinite(value) else None
    if name == "acvpu" and (coded := _ACVPU.get(_plain_name(value))) is not None:
        return coded
    return float(value) if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", value, re.ASCII) else None


def _convert(rows: list[Row], number: float, unit: str) -> Mapped | Unmapped:
    observable = BY_NAME[rows[0].name]
    for row in rows:
        factor = row.units.get(unit) if unit else row.alone
        if factor is not None:
            converted = float(f"{(number + row.offsets.get(unit, 0.0)) * factor:.6g}")
            return Mapped(observable.loinc, converted, observable.unit) if math.isfinite(converted) else Unmapped("not-numeric")
    return Unmapped("unit-mismatch" if unit else "unit-missing")
