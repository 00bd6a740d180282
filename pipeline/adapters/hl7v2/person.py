"""PID and PV1: who the patient is, as a pseudonym for the topics and as a person for the vault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pipeline.adapters.hl7v2.envelope import Envelope
from pipeline.adapters.hl7v2.message import Segment, Value
from pipeline.adapters.hl7v2.refusal import missing_field
from pipeline.domain.deidentify import scrub
from pipeline.domain.demographics import age_at
from pipeline.ports import Identity
from schemas.codes import PatientClass, Sex
from schemas.events import Demographics
from schemas.identifiers import patient_key

TEXT_MAX = 4000
"""Longest free text kept in an event, characters; reports have their own limit."""
_TYPES = ("MR", "PI", "PT", "")
"""CX.5 (table 0203), the most wanted first; any other type (SS, DL, VN) only where there is none of these."""
_SEXES: dict[str, Sex] = {"F": "F", "M": "M", "O": "O", "A": "O", "N": "O", "FEMALE": "F", "MALE": "M", "W": "F"}
_CLASSES: tuple[PatientClass, ...] = ("E", "I", "O", "P", "R", "B", "C", "N", "U")


@dataclass(frozen=True, slots=True)
class PatientId:
    """A CX, reduced to what tells patients apart."""

    identifier: str
    authority: str


@dataclass(frozen=True, slots=True)
class Person:
    """key: the pseudonym. names, ids: what `clean` takes out of free text, this patient's own only."""

    key: str
    id: PatientId
    identity: Identity
    names: tuple[str, ...]
    ids: tuple[str, ...]
    born: date | None
    sex: Sex

    def clean(self, text: str, limit: int = TEXT_MAX) -> str | None:
        """Free text without this person's identifiers; None for an empty one."""
        return scrub(text[:limit], self.names, self.ids, self.born.strftime("%Y%m%d") if self.born else None).strip() or None

    def demographics(self, at: datetime) -> Demographics:
        """Age at `at`, and sex."""
        return Demographics(age_at(self.born.isoformat() if self.born else None, at), self.sex)


def read_person(pid: Segment, envelope: Envelope) -> Person:
    """Raises Refused where PID names no patient (PID-3, or PID-2 and PID-4 of the oldest versions)."""
    candidates = pid.repetitions(3) or pid.repetitions(2) or pid.repetitions(4)
    chosen = choose_id(candidates, envelope.site.authority)
    if chosen is None:
        raise missing_field(pid.location(3))
    key = patient_key(envelope.site.key, chosen.authority, chosen.identifier)
    born, sex = _date(pid.text(7)), _SEXES.get(pid.text(8).upper(), "U")
    names = pid.repetitions(5)
    identity = Identity(
        key,
        chosen.identifier,
        chosen.authority,
        name=_display_name(names),
        birth_date=born.strftime("%Y%m%d") if born else None,
        sex=sex if sex != "U" else None,
    )
    return Person(key, chosen, identity, _all_names(pid), _all_ids(pid), born, sex)


def choose_id(candidates: Sequence[Value], authority: str, wanted: str | None = None) -> PatientId | None:
    """The medical record number first, of the `wanted` (else the site's) authority first, else in the order given."""
    found = [(value, PatientId(value.text(1), value.text(4) or value.text(4, 2) or wanted or authority)) for value in candidates]
    named = [(value, cx) for value, cx in found if cx.identifier]
    if not named:
        return None

    def rank(pair: tuple[Value, PatientId]) -> tuple[bool, int, bool]:
        kind = pair[0].text(5).upper()
        return (
            wanted is not None and pair[1].authority != wanted,
            _TYPES.index(kind) if kind in _TYPES else len(_TYPES),
            pair[1].authority != authority,
        )

    return min(named, key=rank)[1]


def patient_class(pv1: Segment | None) -> PatientClass | None:
    """PV1-2, table 0004."""
    code = pv1.text(2).upper() if pv1 else ""
    return next((known for known in _CLASSES if known == code), None)


def location(pv1: Segment | None) -> str | None:
    """PV1-3: point of care, room and bed."""
    value = pv1.value(3) if pv1 else Value()
    return " ".join(part for part in (value.text(1), value.text(2), value.text(3)) if part)[:80] or None


def _display_name(names: Sequence[Value]) -> str | None:
    """Family^Given^Middle as DICOM writes it, the legal name (XPN.7 L) first."""
    if not names:
        return None
    name = next((value for value in names if value.text(7) == "L"), names[0])
    return "^".join(name.text(part) for part in (1, 2, 3)).rstrip("^") or None


def _all_names(pid: Segment) -> tuple[str, ...]:
    """Patient's, mother's maiden and alias names, without prefixes and degrees, which are ordinary words."""
    values = [value for field in (5, 6, 9) for value in pid.repetitions(field)]
    parts = [sub for value in values for component in value.components[:3] for sub in component]
    return tuple(dict.fromkeys(part for part in parts if part))


def _all_ids(pid: Segment) -> tuple[str, ...]:
    """Patient, account, social security and licence numbers, telephone numbers."""
    values = [value for field in (2, 3, 4, 13, 14, 18, 19, 20) for value in pid.repetitions(field)]
    return tuple(dict.fromkeys(value.text(1) for value in values if value.text(1)))


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date() if text[:8].isascii() else None  # noqa: DTZ007
    except ValueError:
        return None
