"""Reads the PhysioNet/CinC Challenge 2012 archive as windows of readings, in the catalogue's names and units."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.readings import Reading
from pipeline.errors import NotFound
from schemas.codes import Sex

SetName = Literal["a", "b"]

FOLDER = "icu-physionet2012"
ARCHIVE = "physionet2012-set-a-b.tar.xz"
CITATION = (
    "Silva I, Moody G, Scott DJ, Celi LA, Mark RG. Predicting in-hospital mortality of ICU patients: the "
    "PhysioNet/Computing in Cardiology Challenge 2012. Comput Cardiol 2012;39:245-248. Goldberger A et al. PhysioBank, PhysioToolkit, "
    "and PhysioNet. Circulation 2000;101(23):e215-e220. Open Data Commons Attribution License v1.0."
)
ADMISSION = datetime(2012, 1, 1, tzinfo=UTC)
"""The archive has no dates: every stay begins here."""
STAY = timedelta(hours=48)

_VARIABLES: dict[str, tuple[str, float]] = {
    "HR": ("heart_rate", 1),
    "RespRate": ("respiratory_rate", 1),
    "SaO2": ("spo2", 1),
    "NISysABP": ("systolic_bp", 1),
    "NIDiasABP": ("diastolic_bp", 1),
    "NIMAP": ("mean_bp", 1),
    "SysABP": ("systolic_bp", 1),
    "DiasABP": ("diastolic_bp", 1),
    "MAP": ("mean_bp", 1),
    "Temp": ("temperature", 1),
    "GCS": ("gcs", 1),
    "FiO2": ("fio2", 100),
    "Urine": ("urine_output", 1),
    "Weight": ("weight", 1),
    "K": ("potassium", 1),
    "Na": ("sodium", 1),
    "Glucose": ("glucose", 1),
    "Mg": ("magnesium", 1),
    "HCO3": ("bicarbonate", 1),
    "pH": ("ph", 1),
    "PaCO2": ("pco2", 1),
    "PaO2": ("po2", 1),
    "HCT": ("haematocrit", 1),
    "Platelets": ("platelets", 1),
    "WBC": ("wbc", 1),
    "TroponinI": ("troponin_i", 1),
    "TroponinT": ("troponin_t", 1),
    "Creatinine": ("creatinine", 1),
    "BUN": ("urea_nitrogen", 1),
    "Lactate": ("lactate", 1),
    "Bilirubin": ("bilirubin", 1),
    "ALT": ("alt", 1),
    "AST": ("ast", 1),
    "ALP": ("alkaline_phosphatase", 1),
    "Albumin": ("albumin", 1),
    "Cholesterol": ("cholesterol", 1),
}
"""Challenge variable -> catalogue name and factor to its unit. Cuff and arterial pressures share a name, as they do in the stream (at the
same minute the arterial one counts as the newer). Mg is labelled mmol/L by the challenge, but its values (median 2.0) are mg/dL."""

_UNITS = {1.0: "coronary care", 2.0: "cardiac surgery", 3.0: "medical", 4.0: "surgical"}
_ARTERIAL = frozenset({"SysABP", "DiasABP", "MAP"})

LEFT_OUT = "left out, because the stream has no such observable: height, type of ICU, mechanical ventilation"


@dataclass(frozen=True, slots=True)
class Stay:
    """One ICU stay: its first 48 h, and what came of it. saps, sofa: None where the archive has -1. unit: kind of ICU, "" if unknown."""

    record: int
    age: float | None
    sex: Sex
    died: bool
    saps: int | None
    sofa: int | None
    unit: str
    readings: Mapping[str, list[Reading]]


def stays(data: Path, which: SetName) -> Iterator[Stay]:
    """The 4,000 stays of one set, in the archive's order. `data` is the folder that holds FOLDER. Raises NotFound."""
    archive = data / FOLDER / ARCHIVE
    outcomes = _outcomes(data / FOLDER / f"Outcomes-{which}.txt")
    if not archive.is_file():
        raise NotFound(f"{archive} is not there: --data must name the folder that holds {FOLDER}/")
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            if f"set-{which}/" in member.name and member.name.endswith(".txt") and (file := tar.extractfile(member)):
                yield _stay(file.read().decode("ascii"), outcomes)


def _outcomes(path: Path) -> dict[int, tuple[int, ...]]:
    if not path.is_file():
        raise NotFound(f"{path} is not there: --data must name the folder that holds {FOLDER}/")
    rows = (tuple(int(cell) for cell in line.split(",")) for line in path.read_text().splitlines()[1:])
    return {row[0]: row for row in rows}


def _stay(text: str, outcomes: Mapping[int, tuple[int, ...]]) -> Stay:
    static: dict[str, float] = {}
    readings: dict[str, list[Reading]] = defaultdict(list)
    for line in text.splitlines()[1:]:
        time, parameter, number = line.split(",")
        if parameter in _VARIABLES:
            _add(readings, time, parameter, float(number))
        else:
            static.setdefault(parameter, float(number))
    _, saps, sofa, _, _, died = outcomes[int(static["RecordID"])]
    return Stay(
        record=int(static["RecordID"]),
        age=static["Age"] if static.get("Age", -1) >= 0 else None,
        sex={0.0: "F", 1.0: "M"}.get(static.get("Gender", -1), "U"),  # type: ignore[arg-type]
        died=bool(died),
        saps=saps if saps >= 0 else None,
        sofa=sofa if sofa >= 0 else None,
        unit=_UNITS.get(static.get("ICUType", -1), ""),
        readings={name: sorted(series, key=_in_time) for name, series in readings.items()},
    )


def _in_time(reading: Reading) -> tuple[datetime, bool]:
    return reading.at, reading.source == "arterial"


def _add(readings: dict[str, list[Reading]], time: str, parameter: str, number: float) -> None:
    name, factor = _VARIABLES[parameter]
    value = number * factor
    if BY_NAME[name].low <= value <= BY_NAME[name].high:
        readings[name].append(Reading(_moment(time), value, source="arterial" if parameter in _ARTERIAL else ""))


@cache
def _moment(time: str) -> datetime:
    """The archive's hh:mm since admission; there are 2,880 of them."""
    hours, minutes = time.split(":")
    return ADMISSION + timedelta(hours=int(hours), minutes=int(minutes))
