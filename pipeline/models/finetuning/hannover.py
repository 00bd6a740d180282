"""The Hannover COVID-19 repository as a site's manifest, for trying fine-tuning: intensive care on the film's day or within a week."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from pathlib import Path

from pipeline.errors import NotFound
from pipeline.models.imaging.films import HANNOVER, LABS, Row

OUTCOME = "intensive care now or within 7 days (COVID-19 in-patients)"
_HORIZON_DAYS, _LAB_DAYS = 7.0, 7.0
_COLUMNS = ("study", "patient", "image", "observations", "outcome", "projection", "scanner", "sex", "age")


def write_manifest(data: Path, target: Path, patients: int | None = None) -> Path:
    """CSV whose pictures stay where they are. patients: only so many, by a hash of their number. Raises NotFound."""
    table = data / HANNOVER / "data.csv"
    if not table.is_file():
        raise NotFound(f"{table} is not there: --data names the folder that holds {HANNOVER}/")
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    chosen = sorted({row["patient_id"] for row in rows}, key=_by_hash)[:patients]
    target.parent.mkdir(parents=True, exist_ok=True)
    pictures = Path(os.path.relpath((data / HANNOVER / "png").resolve(), target.parent.resolve()))
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(_row(row, pictures) for row in rows if row["patient_id"] in set(chosen))
    return target


def _row(row: Row, pictures: Path) -> Row:
    return {
        "study": row["image_id"],
        "patient": row["patient_id"],
        "image": str(pictures / f"{row['image_id']}.png"),
        "observations": json.dumps(_observations(row)),
        "outcome": str(int(_intensive_care(row))),
        "projection": row["projection"],
        "scanner": row["modality"],
        "sex": row["sex"],
        "age": row["age"],
    }


def _observations(row: Row) -> list[tuple[str, float, float]]:
    """Of the film's day and the week before, later ones too, for the check to leave out; what lies beyond a limit is not known."""
    told = ((name, row[f"{name}_offset"], row[f"{name}_val"]) for name in LABS)
    known = [(name, float(days), float(value)) for name, days, value in told if days and value]
    return [(name, max(value, 0.0), -24.0 * days) for name, days, value in known if days >= -_LAB_DAYS and math.isfinite(value)]


def _intensive_care(row: Row) -> bool:
    admitted, released = row["icu_admission_offset"], row["icu_release_offset"]
    return bool(admitted) and float(admitted) <= _HORIZON_DAYS and (not released or float(released) >= 0)


def _by_hash(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()
