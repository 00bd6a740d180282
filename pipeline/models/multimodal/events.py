"""A patient as a set of events: readings and half-day tallies as the live window carries them, age and sex, words; any of it absent.

Each event is a code and five numbers. A code says what was observed and how it was kept; no grid of times is needed.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features, indications
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.emergencies import BUNDLES
from pipeline.domain.history import Tallies
from pipeline.domain.readings import Readings
from schemas.codes import Sex

MODALITIES = ("vitals", "labs", "blood gases", "demographics", "text")
"""Of events; an image is one more."""
OTHER_LABS = ("crp", "d_dimer", "factor_xii", "ldh", "lymphocytes", "neutrophils")
"""Read by no clinical feature, but given by Hannover's table."""
OBSERVABLES = (*features.OBSERVABLES, *OTHER_LABS, *features.DEMOGRAPHICS)
WORD_BUCKETS = 256
_GASES = frozenset({"ph", "pco2", "po2"})
_WORDS = tuple(f"word {bucket}" for bucket in range(WORD_BUCKETS))
CODES = ("nothing", *OBSERVABLES, *(f"{name}, half day" for name in features.OBSERVABLES), *(bundle.code for bundle in BUNDLES), *_WORDS)
"""0 is padding."""
VALUED = 1 + len(OBSERVABLES) + len(features.OBSERVABLES)
"""Codes below it have a value; words and what they suspect are only there or not."""
OBSERVABLE_OF_CODE = np.array(
    [0, *range(len(OBSERVABLES)), *range(len(features.OBSERVABLES)), *([len(OBSERVABLES)] * (len(BUNDLES) + WORD_BUCKETS))]
)
"""What is taken away together: an observable with its tallies; all words."""
NUMBERS = ("value", "low", "high", "count", "age_h")
"""A reading's value is its low and high too, its count 1. age_h: hours before the moment asked about."""

_INDEX = {name: index for index, name in enumerate(CODES)}
_SEX: dict[Sex, float] = {"F": 1.0, "M": 0.0}
_WORD = re.compile(r"\w+")

Event = tuple[int, float, float, float, float, float]
"""Code and NUMBERS."""


def _modality(name: str) -> str:
    if name in features.DEMOGRAPHICS:
        return "demographics"
    if name in _GASES:
        return "blood gases"
    return "vitals" if name in BY_NAME and BY_NAME[name].kind == "vital" else "labs"


MODALITY_OF_OBSERVABLE = np.array([MODALITIES.index(_modality(name)) for name in OBSERVABLES] + [MODALITIES.index("text")])


@dataclass(frozen=True, slots=True)
class Events:
    """Rows of events, one after another. code: [events]; numbers: [events, NUMBERS]; start: [rows + 1], where each row begins."""

    code: NDArray[np.int64]
    numbers: NDArray[np.float32]
    start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start) - 1

    def only(self, modalities: Collection[str]) -> Events:
        """Without the events of other modalities."""
        kept = np.isin(MODALITY_OF_OBSERVABLE[OBSERVABLE_OF_CODE[self.code]], [MODALITIES.index(m) for m in modalities if m in MODALITIES])
        return Events(self.code[kept], self.numbers[kept], np.append(0, np.cumsum(kept))[self.start])

    def places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """[rows, longest]: where in the arrays each row's events are, and which of these places hold one."""
        length = self.start[rows + 1] - self.start[rows]
        offset = np.arange(max(int(length.max(initial=0)), 1))
        there = offset < length[:, None]
        return np.where(there, self.start[rows, None] + offset, 0), there

    def padded(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """code [rows, longest], 0 where a row has no more events, and numbers [rows, longest, NUMBERS]."""
        if not len(self.code):
            return np.zeros((len(rows), 1), np.int64), np.zeros((len(rows), 1, len(NUMBERS)), np.float32)
        places, there = self.places(rows)
        return np.where(there, self.code[places], 0), self.numbers[places] * there[..., None].astype(np.float32)


def gathered(rows: Iterable[Iterable[Event]]) -> Events:
    """Events in arrays. A number that is no number leaves its event out."""
    kept = [[event for event in row if all(np.isfinite(event))] for row in rows]
    flat = np.array([event for row in kept for event in row], dtype=np.float64).reshape(-1, 1 + len(NUMBERS))
    start = np.cumsum([0, *(len(row) for row in kept)])
    return Events(flat[:, 0].astype(np.int64), flat[:, 1:].astype(np.float32), start)


def joined(parts: Sequence[Events]) -> Events:
    """The rows of several, one after another."""
    starts, total = [np.zeros(1, np.int64)], 0
    for part in parts:
        starts.append(part.start[1:] + total)
        total += int(part.start[-1])
    return Events(np.concatenate([part.code for part in parts]), np.concatenate([part.numbers for part in parts]), np.concatenate(starts))


def of_window(readings: Readings, tallies: Tallies, as_of: datetime) -> Iterator[Event]:
    """What a window holds at `as_of`. Observables that the clinical features do not read are passed over."""
    for name, series in readings.items():
        if name in features.OBSERVABLES:
            for reading in series:
                yield _event(name, reading.value, _hours(as_of, reading.at))
    for name, past in tallies.items():
        if name in features.OBSERVABLES:
            code = _INDEX[f"{name}, half day"]
            for tally in past:
                yield code, tally.mean, tally.low, tally.high, float(tally.count), _hours(as_of, tally.middle)


def of_person(age: float | None, sex: Sex) -> Iterator[Event]:
    """Age in years, sex as 1 female, 0 male; what is not known is absent."""
    if age is not None:
        yield _event("age", age, 0.0)
    if sex in _SEX:
        yield _event("sex", _SEX[sex], 0.0)


def of_values(values: Mapping[str, tuple[float, float]]) -> Iterator[Event]:
    """name -> (value, hours before), one reading each."""
    for name, (value, hours) in values.items():
        yield _event(name, value, hours)


def of_text(text: str) -> Iterator[Event]:
    """The emergencies that the words suspect, and each word and pair of words by a hash."""
    for suspicion in indications.find(text):
        yield _event(suspicion.bundle.code, 1.0, 0.0)
    words = _WORD.findall(text.lower())
    for gram in {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}:
        yield _event(_WORDS[zlib.crc32(gram.encode()) % WORD_BUCKETS], 1.0, 0.0)


def _event(name: str, value: float, hours: float) -> Event:
    return _INDEX[name], value, value, value, 1.0, hours


def _hours(as_of: datetime, at: datetime) -> float:
    return (as_of - at).total_seconds() / 3600
