"""Rows of the three data sets side by side, each with a label for its own output and for no other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.clinical.dataset import moment, window
from pipeline.models.clinical.physionet import Stay
from pipeline.models.clinical.recipe import Recipe as ClinicalRecipe
from pipeline.models.imaging import films
from pipeline.models.imaging.films import Films, Row
from pipeline.models.imaging.network import WIDTH
from pipeline.models.multimodal import events
from pipeline.models.multimodal.events import Event, Events
from schemas.codes import Sex

Mask = NDArray[np.bool_]
OUTPUTS = ("death-in-hospital", "pneumonia", "intensive-care-7d")
"""PhysioNet 2012: in-hospital death of ICU patients. NIH: pneumonia against no finding. Hannover: intensive care now or within 7 days."""
DEATH, PNEUMONIA, INTENSIVE_CARE = range(3)
PARTS: tuple[dict[str, tuple[str, ...]], ...] = (
    {"vitals": ("vitals",), "labs": ("labs", "blood gases"), "demographics": ("demographics",)},
    {"image": ("image",), "demographics": ("demographics",)},
    {"image": ("image",), "labs": ("labs",), "blood gases": ("blood gases",), "demographics": ("demographics",)},
)
"""Of each output: the inputs that its data set has, any of them absent, and their modalities."""


def subsets(output: int) -> dict[str, tuple[str, ...]]:
    """Every choice of an output's inputs but none, smallest first: name -> inputs."""
    parts = PARTS[output]
    sizes = range(1, len(parts) + 1)
    return {" + ".join(chosen): chosen for size in sizes for chosen in itertools.combinations(parts, size)}


def modalities(output: int, chosen: Iterable[str]) -> frozenset[str]:
    """Of some of its inputs."""
    return frozenset(modality for part in chosen for modality in PARTS[output][part])


_END_H = 48.0
_SEXES: dict[str, Sex] = {"F": "F", "M": "M"}


@dataclass(frozen=True, slots=True)
class Rows:
    """image: [n, WIDTH], NaN where there is no film. label: [n, OUTPUTS], NaN where not known.

    patient: [n], unique over all data sets. fold: [n], by patient. whole: [n], rows that figures are made of: a stay at 48 h, any film.
    """

    events: Events
    image: NDArray[np.float32]
    label: NDArray[np.float32]
    patient: NDArray[np.str_]
    fold: NDArray[np.int64]
    whole: Mask

    def __len__(self) -> int:
        return len(self.label)

    def of(self, output: int) -> NDArray[np.int64]:
        """Rows that have a label for it."""
        return np.flatnonzero(~np.isnan(self.label[:, output]))


def joined(parts: Sequence[Rows]) -> Rows:
    """One after another."""
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "label", "patient", "fold", "whole")]
    return Rows(events.joined([part.events for part in parts]), *arrays)


def of_stays(stays: Sequence[Stay], cuts: int, seed: int) -> Rows:
    """Each stay at 48 h, then at `cuts` random earlier moments, early ones oftener than late ones. Folds: the shipped clinical model's."""
    rng, theirs = np.random.default_rng(seed), ClinicalRecipe()
    fold = np.random.default_rng(theirs.seed).permutation(len(stays)) % theirs.folds
    hours = [(_END_H, *np.exp(rng.uniform(0.0, np.log(_END_H), cuts))) for _ in stays]
    told = events.gathered(_told(stay, at) for stay, moments in zip(stays, hours, strict=True) for at in moments)
    return Rows(
        events=told,
        image=np.full((len(told), WIDTH), np.nan, np.float32),
        label=_labels(DEATH, np.repeat([stay.died for stay in stays], 1 + cuts)),
        patient=np.repeat([f"physionet {stay.record}" for stay in stays], 1 + cuts),
        fold=np.repeat(fold, 1 + cuts),
        whole=np.tile(np.arange(1 + cuts) == 0, len(stays)),
    )


def of_nih(whole: Films, features: NDArray[np.floating]) -> Rows:
    """features: [n, WIDTH]. With the age and sex that the table gives."""
    told = [list(events.of_person(float(row["Patient Age"]), _sex(row["Patient Gender"]))) for row in whole.rows]
    return _films("nih", PNEUMONIA, whole, features, told)


def of_hannover(whole: Films, features: NDArray[np.floating]) -> Rows:
    """features: [n, WIDTH]. With the laboratory values of the film's day or the week before, and sex and age where known."""
    told = [list(_hannover(row, values)) for row, values in zip(whole.rows, films.labs(whole), strict=True)]
    return _films("hannover", INTENSIVE_CARE, whole, features, told)


def _films(name: str, output: int, whole: Films, features: NDArray[np.floating], told: Sequence[Sequence[Event]]) -> Rows:
    return Rows(
        events=events.gathered(told),
        image=features.astype(np.float32),
        label=_labels(output, whole.positive),
        patient=np.array([f"{name} {patient}" for patient in whole.patient]),
        fold=films.folds(whole.patient, name),
        whole=np.ones(len(whole), bool),
    )


def _labels(output: int, positive: NDArray[np.bool_]) -> NDArray[np.float32]:
    labels = np.full((len(positive), len(OUTPUTS)), np.nan, np.float32)
    labels[:, output] = positive
    return labels


def _told(stay: Stay, hours: float) -> list[Event]:
    kept, tallies = window(stay, hours)
    return [*events.of_window(kept, tallies, moment(hours)), *events.of_person(stay.age, stay.sex)]


def _hannover(row: Row, values: NDArray[np.float64]) -> Iterator[Event]:
    known = {name: value for name, value in zip(films.LABS, values, strict=True) if np.isfinite(value)}
    yield from events.of_values(
        {name.replace("-", "_"): (max(value, 0.0), -24.0 * float(row[f"{name}_offset"])) for name, value in known.items()}
    )
    yield from events.of_person(float(row["age"]) if row["age"] else None, _sex(row["sex"]))


def _sex(word: str) -> Sex:
    return _SEXES.get(word.upper(), "U")
