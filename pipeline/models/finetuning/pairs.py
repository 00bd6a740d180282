"""A site's manifest, row by row: each becomes a pair of inputs and outcome, or a refusal with its line and reason."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.catalogue import BY_NAME, OBSERVABLES
from pipeline.errors import NotFound, StackError, UnfitPicture
from pipeline.models.finetuning import table
from pipeline.models.finetuning.films import Film
from pipeline.models.finetuning.table import REMEDY, Cells
from schemas.codes import Sex

REQUIRED = ("study", "patient", "outcome")
OPTIONAL = ("image", "observations", "text", "date", "hospital", "projection", "scanner", "age", "sex")
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
AGE_MAX = 130
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")

FilmOf = Callable[[str], Film]
"""A path or SOP Instance UID to the picture. Raises UnfitPicture, NotFound."""
PseudonymOf = Callable[[str], str]
"""What the site's events call the patient of a record number."""


class RowRefused(Exception):
    """`reason`: a short stable code. `explanation`: for a person, without the cells' content."""

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(f"{reason}: {explanation}")
        self.reason = reason
        self.explanation = explanation


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not used. line: of the file, the header being 1."""

    line: int
    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Observed:
    """One value; hours: before the picture, never negative."""

    name: str
    value: float
    hours: float


@dataclass(frozen=True, slots=True)
class Pair:
    """What was known at the time of the study, and what came of it. digest: SHA-256 of the picture's file. patient: as the manifest names
    him; pseudonym: as events do, "" where that is not known."""

    line: int
    study: str
    patient: str
    outcome: bool
    picture: NDArray[np.uint8] | None
    digest: str | None
    observations: tuple[Observed, ...]
    text: str
    age: float | None
    sex: Sex
    date: datetime | None
    hospital: str
    projection: str
    scanner: str
    pseudonym: str = ""

    @property
    def names(self) -> set[str]:
        """Of the patient."""
        return {self.patient, self.pseudonym} - {""}


@dataclass(slots=True)
class Left:
    """Values left out of rows that are used otherwise, counted."""

    after_the_picture: int = 0
    out_of_range: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the file held."""

    rows: int
    pairs: list[Pair]
    refused: list[Refusal]
    left: Left
    unused_columns: tuple[str, ...]


def read(
    path: Path,
    film: FilmOf,
    now: datetime,
    progress: Callable[[int, int], None] = lambda done, of: None,
    pseudonym_of: PseudonymOf | None = None,
) -> Manifest:
    """CSV (UTF-8) or Parquet. pseudonym_of: None where the site's key is not here; then who stands there by number and by pseudonym is two.

    Raises NotFound, StackError for a file that is no manifest.
    """
    columns, rows = table.read(path)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise StackError(f"{path} has no column {', '.join(missing)}", REMEDY)
    if not rows:
        raise StackError(f"{path} holds no row", REMEDY)
    found, refused, left = [], [], Left()
    for place, cells in enumerate(rows):
        line = place + 2
        try:
            found.append(_pair(line, cells, film, now, left))
        except RowRefused as refusal:
            refused.append(Refusal(line, refusal.reason, refusal.explanation))
        progress(place + 1, len(rows))
    pairs, doubtful = _consistent(found if pseudonym_of is None else _joined(found, pseudonym_of))
    known = {*REQUIRED, *OPTIONAL, *BY_NAME}
    return Manifest(len(rows), pairs, sorted([*refused, *doubtful], key=_line), left, tuple(c for c in columns if c not in known))


def _joined(found: list[Pair], pseudonym_of: PseudonymOf) -> list[Pair]:
    """Every patient under one name: the number, where it stands there, so that the same manifest is split alike on every site."""
    pseudonyms = {pair.patient: pair.patient if _PSEUDONYM.fullmatch(pair.patient) else pseudonym_of(pair.patient) for pair in found}
    numbers = {pseudonym: told for told, pseudonym in pseudonyms.items() if told != pseudonym}
    return [replace(pair, patient=numbers.get(pair.patient, pair.patient), pseudonym=pseudonyms[pair.patient]) for pair in found]


def _line(refusal: Refusal) -> int:
    return refusal.line


def _pair(line: int, cells: Cells, film: FilmOf, now: datetime, left: Left) -> Pair:
    study, patient = (_required(cells, name) for name in ("study", "patient"))
    observations = (*_listed(cells.get("observations", ""), left), *_in_columns(cells, left))
    text = cells.get("text", "")
    seen = _seen(cells.get("image", ""), film)
    if seen is None and not observations and not text:
        raise RowRefused("empty", "neither a picture, nor an observation, nor a text")
    return Pair(
        line=line,
        study=study,
        patient=patient,
        outcome=_outcome(cells["outcome"]),
        picture=None if seen is None else seen.picture,
        digest=None if seen is None else seen.digest,
        observations=observations,
        text=text,
        age=_age(cells.get("age", "")),
        sex=_sex(cells.get("sex", "")),
        date=_date(cells.get("date", ""), now),
        hospital=cells.get("hospital", ""),
        projection=cells.get("projection", "").upper(),
        scanner=cells.get("scanner", ""),
    )


def _required(cells: Cells, name: str) -> str:
    if not cells[name]:
        raise RowRefused(f"no-{name}", f"the column {name} is empty")
    return cells[name]


def _outcome(text: str) -> bool:
    if text.lower() not in ("0", "1", "0.0", "1.0"):
        raise RowRefused("outcome", "the outcome is neither 0 nor 1")
    return text[0] == "1"


def _seen(image: str, film: FilmOf) -> Film | None:
    try:
        return film(image) if image else None
    except NotFound as error:
        raise RowRefused("image-missing", str(error)) from error
    except UnfitPicture as error:
        raise RowRefused(f"image-{error.reason}", error.explanation) from error


def _listed(text: str, left: Left) -> Iterable[Observed]:
    """A JSON list of [name or LOINC code, value, hours before the picture]."""
    if not text:
        return ()
    try:
        entries = json.loads(text)
        triples = [(str(name), float(value), float(hours)) for name, value, hours in entries]
    except (ValueError, TypeError) as error:
        raise RowRefused("observations", "observations are no JSON list of [name, value, hours before the picture]") from error
    return [seen for entry in triples if (seen := _observed(*entry, left)) is not None]


def _in_columns(cells: Cells, left: Left) -> Iterable[Observed]:
    for name in BY_NAME.keys() & cells.keys():
        if cells[name]:
            try:
                value = float(cells[name])
            except ValueError as error:
                raise RowRefused("observations", f"{name} is not a number") from error
            if (seen := _observed(name, value, 0.0, left)) is not None:
                yield seen


def _observed(told: str, value: float, hours: float, left: Left) -> Observed | None:
    """None: counted in `left`. A name that the catalogue has not is the site's own."""
    code = OBSERVABLES.get(told)
    name = code.name if code else told.strip().lower().replace("-", "_").replace(" ", "_")
    if not _NAME.fullmatch(name):
        raise RowRefused("observations", "an observation's name is neither a LOINC code of the catalogue nor a word")
    if not math.isfinite(value) or not math.isfinite(hours):
        raise RowRefused("observations", f"{name}: the value or its hours are not finite")
    if hours < 0:
        left.after_the_picture += 1
        return None
    known = BY_NAME.get(name)
    if known is not None and not known.low <= value <= known.high:
        left.out_of_range += 1
        return None
    return Observed(name, value, hours)


def _age(text: str) -> float | None:
    if not text:
        return None
    try:
        age = float(text)
    except ValueError as error:
        raise RowRefused("age", "the age is not a number") from error
    if not 0 <= age <= AGE_MAX:
        raise RowRefused("age", f"the age is not between 0 and {AGE_MAX} years")
    return age


def _sex(text: str) -> Sex:
    sexes: dict[str, Sex] = {"F": "F", "M": "M", "": "U", "U": "U", "O": "U", "D": "U"}
    if text[:1].upper() not in sexes:
        raise RowRefused("sex", "the sex is none of F, M, U")
    return sexes[text[:1].upper()]


def _date(text: str, now: datetime) -> datetime | None:
    """A date without zone counts as UTC: it only orders rows."""
    if not text:
        return None
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise RowRefused("date", "the date is not in ISO 8601") from error
    date = told if told.tzinfo else told.replace(tzinfo=UTC)
    if not EARLIEST <= date <= now:
        raise RowRefused("date", f"the date lies before {EARLIEST:%Y} or in the future")
    return date


@dataclass(slots=True)
class _Owners:
    """Who a picture or a study belongs to."""

    patients: dict[str, set[str]] = field(default_factory=dict)

    def note(self, key: str | None, patient: str) -> None:
        if key is not None:
            self.patients.setdefault(key, set()).add(patient)

    def several(self, key: str | None) -> bool:
        return key is not None and len(self.patients[key]) > 1


def _consistent(found: list[Pair]) -> tuple[list[Pair], list[Refusal]]:
    """Without pictures and studies of two patients, of which one must be wrong, and without the second of two equal pictures."""
    pictures, studies = _Owners(), _Owners()
    for pair in found:
        pictures.note(pair.digest, pair.patient)
        studies.note(pair.study, pair.patient)
    kept: list[Pair] = []
    refused: list[Refusal] = []
    first: dict[str, int] = {}
    for pair in found:
        if pictures.several(pair.digest):
            refused.append(Refusal(pair.line, "image-of-two-patients", "the same picture stands under another patient too"))
        elif studies.several(pair.study):
            refused.append(Refusal(pair.line, "study-of-two-patients", "the same study stands under another patient too"))
        elif pair.digest is not None and pair.digest in first:
            refused.append(Refusal(pair.line, "duplicate", f"the same picture as line {first[pair.digest]}"))
        else:
            first.setdefault(pair.digest or "", pair.line)
            kept.append(pair)
    return kept, refused
