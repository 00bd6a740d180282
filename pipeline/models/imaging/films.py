"""Chest films with their labels, each data set by itself: NIH ChestX-ray14 (1,000 films) and the Hannover COVID-19 repository."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.adapters.pictures.preparation import prepare
from pipeline.errors import NotFound

Pictures = NDArray[np.uint8]
"""[n, side, side] as `preparation.prepare` makes them."""
Mask = NDArray[np.bool_]
Row = dict[str, str]

NIH = "cxr-nih256"
HANNOVER = "cxr-hannover"
NIH_CITATION = "Wang X. et al., ChestX-ray8, CVPR 2017 (NIH Clinical Center)"
HANNOVER_CITATION = "Winther H.B. et al., COVID-19 Image Repository, figshare 2020, doi:10.6084/m9.figshare.12275009, CC BY 3.0"
FOLDS = 5
LABS = ("crp", "d-dimer", "factor_xii", "ldh", "lymphocytes", "neutrophils", "pco2", "po2")

_HORIZON_DAYS = 7.0
_LAB_DAYS = 7.0


@dataclass(frozen=True, slots=True)
class Films:
    """One data set. positive: the label. patient: group of each film. rows: the table's other columns, in order."""

    pictures: Pictures
    positive: Mask
    patient: NDArray[np.str_]
    rows: list[Row]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str, value: str) -> Mask:
        """Which rows have `value` there, in any case."""
        return np.array([row[name].lower() == value.lower() for row in self.rows])

    def chosen(self, rows: Mask) -> Films:
        """A part of it."""
        kept = [row for row, keep in zip(self.rows, rows, strict=True) if keep]
        return Films(self.pictures[rows], self.positive[rows], self.patient[rows], kept)


def nih(data: Path, side: int, most: int | None = None) -> Films:
    """Positive: pneumonia among the findings; the others have no finding. most: some of them, for a trial. Raises NotFound."""
    rows = _some(_table(data / NIH / "labels.csv"), most)
    pictures = _pictures([data / NIH / "png256" / row["Image Index"] for row in rows], side)
    return Films(pictures, np.array(["Pneumonia" in row["Finding Labels"] for row in rows]), _column(rows, "Patient ID"), rows)


def hannover(data: Path, side: int, most: int | None = None) -> Films:
    """Positive: in intensive care on the day of the film, or within seven days after. most: as in `nih`. Raises NotFound."""
    rows = _some(_table(data / HANNOVER / "data.csv"), most)
    pictures = _pictures([data / HANNOVER / "png" / f"{row['image_id']}.png" for row in rows], side)
    return Films(pictures, np.array([_intensive_care(row) for row in rows]), _column(rows, "patient_id"), rows)


def labs(films: Films) -> NDArray[np.float64]:
    """[n, len(LABS)] of Hannover: the value of the film's day or the week before; NaN where there is none."""
    return np.array([[_lab(row, name) for name in LABS] for row in films.rows])


def held_out(patients: NDArray[np.str_], part: str) -> Mask:
    """A fifth of the patients, by a hash of their number: the same whatever else changes."""
    chosen: Mask = _bucket(patients, f"{part}-heldout") == 0
    return chosen


def folds(patients: NDArray[np.str_], part: str) -> NDArray[np.int64]:
    """0 to FOLDS - 1, whole patients, by another hash."""
    return _bucket(patients, f"{part}-fold")


def _bucket(patients: NDArray[np.str_], salt: str) -> NDArray[np.int64]:
    return np.array([int(hashlib.sha256(f"{salt}:{patient}".encode()).hexdigest(), 16) % FOLDS for patient in patients])


def _intensive_care(row: Row) -> bool:
    admitted, released = _number(row["icu_admission_offset"]), _number(row["icu_release_offset"])
    return admitted is not None and admitted <= _HORIZON_DAYS and (released is None or released >= 0)


def _lab(row: Row, name: str) -> float:
    days, value = _number(row[f"{name}_offset"]), _number(row[f"{name}_val"])
    return value if value is not None and days is not None and -_LAB_DAYS <= days <= 0 else np.nan


def _number(text: str) -> float | None:
    return float(text) if text else None


def _column(rows: list[Row], name: str) -> NDArray[np.str_]:
    return np.array([row[name] for row in rows])


def _table(path: Path) -> list[Row]:
    try:
        with path.open(newline="") as lines:
            return list(csv.DictReader(lines))
    except OSError as error:
        raise NotFound(f"{path} is not there: --data names the folder that holds {NIH}/ and {HANNOVER}/") from error


def _some(rows: list[Row], most: int | None) -> list[Row]:
    return rows if most is None else rows[:: max(1, len(rows) // most)]


def _pictures(paths: list[Path], side: int) -> Pictures:
    return np.stack([prepare(_grey(path), side) for path in paths])


def _grey(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))
