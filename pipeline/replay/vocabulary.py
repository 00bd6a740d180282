"""The words of a story: names of laboratory values, vital signs and examinations, and near ones where a word is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pipeline.domain.catalogue import BY_NAME, OBSERVABLES, Observable
from pipeline.domain.terminology import Mapped, Unmapped, map_observation, observable_of
from pipeline.domain.terminology_table import ROWS
from pipeline.replay.times import WrittenWrong, told_to_the_writer

__tracebackhide__ = told_to_the_writer

MODALITIES = ("CT", "MR", "DX", "CR", "US", "XA", "RF", "NM", "PT", "MG", "OT")
"""DICOM modalities that a story may order and take images with."""
_SPOKEN = {"XR": "DX", "X-RAY": "DX", "XRAY": "DX", "MRI": "MR", "PET": "PT"}


def observable(name: str, kind: Literal["lab", "vital"]) -> Observable:
    """By its label, catalogue name, LOINC code or any name of the terminology table. Raises WrittenWrong with near names."""
    loinc = code(name)
    if loinc is None:
        raise WrittenWrong(f"{name!r} is no {_KINDS[kind]} that Readfirst knows{did_you_mean(name, _known(kind))}")
    found = OBSERVABLES[loinc]
    if found.kind != kind:
        raise WrittenWrong(f"{name!r} is a {_KINDS[found.kind]}: write .{found.kind}({name!r}, ...)")
    return found


def code(name: str) -> str | None:
    """Its LOINC code in the catalogue, None for what Readfirst does not read."""
    return _LABELS.get(name.casefold()) or (name if name in OBSERVABLES else observable_of(None, name, None))


def measured(what: Observable, value: float | str, unit: str | None) -> Mapped:
    """In the catalogue's unit, which is meant where none is said. Raises WrittenWrong where the unit is not one of this quantity."""
    found = map_observation(what.loinc, None, None, value, unit or what.unit)
    if isinstance(found, Unmapped):
        if found.reason == "not-numeric":
            raise WrittenWrong(f"{what.label} {value!r} is no number")
        raise WrittenWrong(f"{what.label} is not measured in {unit!r}; in {what.unit}, say")
    return found


def examination(words: str) -> tuple[str, str | None]:
    """ "CT HEAD" -> modality CT, body part HEAD. Raises WrittenWrong."""
    first, _, part = words.strip().upper().partition(" ")
    modality = _SPOKEN.get(first, first)
    if modality not in MODALITIES:
        raise WrittenWrong(f"{words!r}: {first!r} is no modality{did_you_mean(first, MODALITIES)}; write it as in 'CT HEAD'")
    return modality, part.strip() or None


def one_of(what: str, word: str, allowed: Any) -> str:
    """`word`, if it is one of a Literal's. Raises WrittenWrong."""
    words = [str(one) for one in get_args(allowed)]
    if word not in words:
        raise WrittenWrong(f"{what} {word!r} is none of {', '.join(words)}{did_you_mean(word, words)}")
    return word


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean …?", or nothing where nothing is near."""
    by_fold = {one.casefold(): one for one in known}
    near = get_close_matches(word.casefold(), by_fold, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(by_fold[one] for one in near)}?" if near else ""


_KINDS = {"lab": "laboratory value", "vital": "vital sign"}
_LABELS = {spelled.casefold(): one.loinc for one in OBSERVABLES.values() for spelled in (one.label, one.name, one.name.replace("_", " "))}


def _known(kind: str) -> list[str]:
    labels = [spelled for one in BY_NAME.values() if one.kind == kind for spelled in (one.label, one.name)]
    return labels + [name for row in ROWS if BY_NAME[row.name].kind == kind for name in row.names]
