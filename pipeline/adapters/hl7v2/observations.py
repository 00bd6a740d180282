"""OBX as an Observation: the value in the catalogue's unit where code and unit are known, and as it came where not."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import get_args

from pipeline.adapters.hl7v2.envelope import Envelope
from pipeline.adapters.hl7v2.groups import OrderGroup
from pipeline.adapters.hl7v2.message import Segment, Value
from pipeline.adapters.hl7v2.person import Person
from pipeline.adapters.hl7v2.refusal import wrong_type
from pipeline.domain.catalogue import OBSERVABLES
from pipeline.domain.terminology import Mapped, map_observation, most_severe, observable_of
from schemas.codes import LOINC, Coding, Comparator, ObservationStatus
from schemas.events import Observation
from schemas.identifiers import pseudonym
from schemas.time import Timestamp

_COMPARATORS = frozenset(get_args(Comparator))

STATUSES: dict[str, ObservationStatus] = {
    **dict.fromkeys(("F", "U", "V", ""), "final"),
    **dict.fromkeys(("P", "R", "S", "B"), "preliminary"),
    **dict.fromkeys(("C", "A"), "corrected"),
    **dict.fromkeys(("D", "W", "X"), "deleted"),
}
"""OBX-11 (table 0085). What is not here (I pending, N not asked, O order detail) is no result."""
ENCAPSULATED = ("ED", "RP")
TEXT_MAX = 500

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?"
_NUMERIC = re.compile(rf"\s*(?P<comparator><=|>=|<|>)?\s*(?P<number>{_NUMBER})\s*", re.ASCII)
_LOINC_SYSTEMS = ("LN", "LOINC", "LNC", "2.16.840.1.113883.6.1")
_LOINC_CODE = re.compile(r"\d{1,5}-\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Code:
    """OBX-3. loinc: where the source names one. local: its own code, or the LOINC code where there is none."""

    loinc: str | None
    local: Coding | None

    @property
    def observable(self) -> str | None:
        """The catalogue's LOINC code."""
        code, name = (self.local.code, self.local.display) if self.local else (None, None)
        return observable_of(self.loinc, code, name)


@dataclass(frozen=True, slots=True)
class _Measured:
    number: float | None
    comparator: Comparator | None
    text: str


def is_result(obx: Segment) -> bool:
    """Whether OBX-11 says that there is something to know, and OBX-2 that it is no document."""
    return obx.text(11).upper() in STATUSES and obx.text(2).upper() not in ENCAPSULATED


def code_of(obx: Segment) -> Code:
    """The first or the alternate triplet is LOINC, or neither."""
    value = obx.value(3)
    triplets = [(value.text(at), value.text(at + 1), value.text(at + 2).upper()) for at in (1, 4)]
    loinc = next((code for code, _, system in triplets if system in _LOINC_SYSTEMS and _LOINC_CODE.fullmatch(code)), None)
    others = [(code, name, system) for code, name, system in triplets if (code or name) and code != loinc]
    if others:
        code, name, _ = others[0]
        return Code(loinc, Coding((code or name)[:80], None, name[:200] or None))
    display = next((name for code, name, _ in triplets if code == loinc and name), None)
    return Code(loinc, Coding(loinc, LOINC, display[:200] if display else None) if loinc else None)


def observation(obx: Segment, code: Code, group: OrderGroup, person: Person, envelope: Envelope, unmapped: Counter[str]) -> Observation:
    """Raises Refused where OBX-5 is not of the type that OBX-2 says. `unmapped` counts why values stay outside the catalogue."""
    status = STATUSES[obx.text(11).upper()]
    effective, specimen = _effective(obx, group, envelope)
    measured = _measured(obx, status, code)
    loinc, value, unit = (
        _mapped(code, measured, obx.value(6), unmapped) if status != "deleted" else (code.observable or code.loinc, None, None)
    )
    return Observation(
        key=_key(obx, group, code, specimen, envelope),
        effective=effective,
        status=status,
        loinc=loinc,
        local=_scrubbed(code.local, person),
        value=value,
        unit=unit,
        # A number is a measurement, also where it looks like the patient's own number.
        value_text=measured.text if number_of(measured.text) else person.clean(measured.text, TEXT_MAX),
        unit_text=obx.value(6).text(1)[:40] or None,
        comparator=measured.comparator,
        flag=most_severe({value.text(1).upper() for value in obx.repetitions(8)}),
        issued=envelope.first_time(obx.text(19), group.obr.text(22) if group.obr else ""),
    )


def number_of(text: str) -> tuple[float, Comparator | None] | None:
    """A number with or without a comparator before it."""
    match = _NUMERIC.fullmatch(text)
    if match is None:
        return None
    number, comparator = float(match["number"]), match["comparator"]
    if math.isinf(number):  # four hundred digits
        return None
    return number, comparator if comparator in _COMPARATORS else None  # type: ignore[return-value]


def _measured(obx: Segment, status: ObservationStatus, code: Code) -> _Measured:
    kind, values = obx.text(2).upper(), obx.repetitions(5)
    text = " ~ ".join(value.words() for value in values)
    if kind == "NM" and status != "deleted":
        _check_numeric(obx, values)
    if len(values) != 1:
        return _Measured(None, None, text)
    if kind == "SN":
        return _structured(values[0], text)
    if kind in ("CE", "CWE", "CNE", "CF", "IS", "ID"):
        return _coded(values[0], text, code)
    found = number_of(values[0].text(1))
    return _Measured(*found, text) if found else _coded(values[0], text, code)


def _check_numeric(obx: Segment, values: list[Value]) -> None:
    if any(number_of(value.text(1)) is None for value in values):
        raise wrong_type(obx.location(5), "OBX-2 says NM, but OBX-5 is not a number")


def _structured(value: Value, text: str) -> _Measured:
    """SN: comparator, number, separator, number. Ranges and ratios stay text."""
    if value.text(3) or value.text(4):
        return _Measured(None, None, text)
    found = number_of(f"{value.text(1).replace('=', '') if value.text(1) == '=' else value.text(1)}{value.text(2)}")
    return _Measured(*found, text) if found else _Measured(None, None, text)


def _coded(value: Value, text: str, code: Code) -> _Measured:
    """A coded answer is a number only on a scale of the catalogue (GCS, ACVPU)."""
    if code.observable is None:
        return _Measured(None, None, text)
    local = code.local
    for answer in (value.text(1), value.text(2), value.text(4), value.text(5)):
        mapped = map_observation(code.loinc, local.code if local else None, local.display if local else None, answer, None)
        if answer and isinstance(mapped, Mapped):
            return _Measured(mapped.value, None, text)
    return _Measured(None, None, text)


def _mapped(code: Code, measured: _Measured, units: Value, unmapped: Counter[str]) -> tuple[str | None, float | None, str | None]:
    """loinc, value and unit. A value that the catalogue knows but whose unit it doesn't is left out: its text stays."""
    if measured.number is None:
        unmapped["not-numeric"] += 1
        return code.observable or code.loinc, None, None
    local = code.local
    reason = "code-unknown"
    for unit in [text for text in (units.text(1), units.text(2), units.text(4)) if text] or [""]:
        result = map_observation(code.loinc, local.code if local else None, local.display if local else None, measured.number, unit)
        if isinstance(result, Mapped):
            return result.loinc, result.value, result.unit
        reason = result.reason
    unmapped[reason] += 1
    if code.observable is not None:
        return code.observable, None, None
    return code.loinc, measured.number, units.text(1) if units.text(3).upper() == "UCUM" else None


def _effective(obx: Segment, group: OrderGroup, envelope: Envelope) -> tuple[Timestamp, Timestamp | None]:
    """The measurement's or specimen's time (OBX-14, OBR-7, SPM-17), and the one that names the observation; the result's or the message's
    time stands in for the first."""
    specimens = [specimen.text(17) for specimen in group.specimens]
    obr = group.obr
    named = envelope.first_time(obx.text(14), obr.text(7) if obr else "", *specimens)
    stand_in = envelope.first_time(obx.text(19), obr.text(22) if obr else "")
    return named or stand_in or envelope.sent, named


def _key(obx: Segment, group: OrderGroup, code: Code, specimen: Timestamp | None, envelope: Envelope) -> str:
    """The same for a correction, which repeats order, OBX-3, OBX-4 and specimen time. Source: two systems may number alike."""
    order = next(iter(group.numbers(3, 3)), None) or next(iter(group.numbers(2, 2)), "")
    name = code.loinc or (code.local.code if code.local else "")
    parts = (envelope.origin.source, order, name, obx.text(4), specimen.utc.isoformat() if specimen else "")
    return pseudonym(envelope.site.key, "observation", "|".join(parts))


def _scrubbed(local: Coding | None, person: Person) -> Coding | None:
    return Coding(local.code, local.system, person.clean(local.display) if local.display else None) if local else None


def is_vital(code: Code) -> bool | None:
    """By the catalogue's kind; None for what it does not know."""
    return OBSERVABLES[code.observable].kind == "vital" if code.observable else None
