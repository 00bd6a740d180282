"""Reads the eICU demo as stays like those the model was trained on: APACHE's worst values of the first day, and the cuff pressures."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.readings import Reading
from pipeline.errors import NotFound
from pipeline.models.clinical.physionet import ADMISSION, Stay
from schemas.codes import Sex

FOLDER = "icu-eicu-demo"
FILES = {name: f"{name}.csv.gz" for name in ("patient", "apacheApsVar", "apachePatientResult", "vitalAperiodic_nibp")}
CITATION = (
    "Johnson A, Pollard T, Badawi O, Raffa J. eICU Collaborative Research Database Demo v2.0.1. PhysioNet 2021. Pollard TJ et al. The eICU "
    "Collaborative Research Database. Sci Data 2018;5:180178. Open Data Commons Open Database License v1.0."
)
AS_OF_H = 24.0
_WORST_AT_H = 12.0
"""APACHE does not say when in the first day its value was: the middle of it."""

_WORST = {
    "wbc": "wbc",
    "temperature": "temperature",
    "respiratoryrate": "respiratory_rate",
    "sodium": "sodium",
    "heartrate": "heart_rate",
    "meanbp": "mean_bp",
    "ph": "ph",
    "hematocrit": "haematocrit",
    "creatinine": "creatinine",
    "albumin": "albumin",
    "pao2": "po2",
    "pco2": "pco2",
    "bun": "urea_nitrogen",
    "glucose": "glucose",
    "bilirubin": "bilirubin",
    "fio2": "fio2",
}
_CUFF = {"noninvasivesystolic": "systolic_bp", "noninvasivediastolic": "diastolic_bp", "noninvasivemean": "mean_bp"}
_SEX: dict[str, Sex] = {"Female": "F", "Male": "M"}
_Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HospitalStay:
    """A stay and where it was: figures are resampled by hospital."""

    stay: Stay
    hospital: str


def stays(data: Path) -> list[HospitalStay]:
    """The stays with an APACHE IVa outcome, in the order of their numbers. Raises NotFound."""
    folder = data / FOLDER
    missing = [file for file in FILES.values() if not (folder / file).is_file()]
    if missing:
        raise NotFound(f"{folder / missing[0]} is not there: --data must name the folder that holds {FOLDER}/")
    patients = {row["patientunitstayid"]: row for row in _rows(folder, "patient")}
    worst = {row["patientunitstayid"]: row for row in _rows(folder, "apacheApsVar")}
    cuffs: dict[str, list[_Row]] = defaultdict(list)
    for row in _rows(folder, "vitalAperiodic_nibp"):
        if 0 <= int(row["observationoffset"]) <= AS_OF_H * 60:
            cuffs[row["patientunitstayid"]].append(row)
    died = {
        row["patientunitstayid"]: row["actualhospitalmortality"] == "EXPIRED"
        for row in _rows(folder, "apachePatientResult")
        if row["apacheversion"] == "IVa"
    }
    known = sorted((died.keys() & worst.keys()) & patients.keys(), key=int)
    return [HospitalStay(_stay(patients[key], worst[key], cuffs[key], died[key]), patients[key]["hospitalid"]) for key in known]


def _rows(folder: Path, name: str) -> Iterator[_Row]:
    with gzip.open(folder / FILES[name], "rt", newline="") as file:
        yield from csv.DictReader(file)


def _stay(patient: _Row, worst: _Row, cuffs: list[_Row], died: bool) -> Stay:
    readings: dict[str, list[Reading]] = defaultdict(list)
    for column, name in _WORST.items():
        _add(readings, name, _number(worst[column]), _WORST_AT_H)
    _add(readings, "gcs", _gcs(worst), _WORST_AT_H)
    urine = _number(worst["urine"])
    _add(readings, "urine_output", None if urine is None else urine / AS_OF_H, _WORST_AT_H)
    _add(readings, "weight", _number(patient["admissionweight"]), 0.0)
    for row in cuffs:
        for column, name in _CUFF.items():
            _add(readings, name, _number(row[column]), int(row["observationoffset"]) / 60)
    return Stay(
        record=int(patient["patientunitstayid"]),
        age=90.0 if patient["age"].startswith(">") else float(patient["age"]) if patient["age"] else None,
        sex=_SEX.get(patient["gender"], "U"),
        died=died,
        saps=None,
        sofa=None,
        unit=patient["unittype"],
        readings={name: sorted(series, key=lambda reading: reading.at) for name, series in readings.items()},
    )


def _gcs(worst: _Row) -> float | None:
    parts = [_number(worst[part]) for part in ("eyes", "motor", "verbal")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _number(cell: str) -> float | None:
    """None for an empty cell and for APACHE's -1."""
    return float(cell) if cell and float(cell) != -1 else None


def _add(readings: dict[str, list[Reading]], name: str, value: float | None, hours: float) -> None:
    if value is not None and BY_NAME[name].low <= value <= BY_NAME[name].high:
        readings[name].append(Reading(ADMISSION + timedelta(hours=hours), value))
