"""Real de-identified data as a hospital's messages.

A patient here is a composite: the radiograph and its laboratory values belong together (Hannover); the vital signs and the rest of the
laboratory come from a stay of the MIMIC-III demo. Every message of such a patient says so. Names and numbers are invented.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from pipeline.errors import StackError
from pipeline.simulation.courses import FAMILIES, GIVEN, PLACES
from pipeline.simulation.files import messages as of_file
from pipeline.simulation.messages import Exam, Hl7, Outgoing, Person, Visit, image, rejection_note, uid

COMPOSITE = "COMPOSITE RECORD of several de-identified patients"
STUDIES = 60
VITALS_EACH = 16
LABS_EACH = 3
REJECTED_EACH = 20
LENGTH = timedelta(hours=3)
SAMPLES = ("hl7v2-dev", "fhir-dev", "dicom-dev")
# (column, LOINC, name, unit) of the Hannover table.
HANNOVER_LABS = (
    ("crp", "1988-5", "CRP", "mg/L"),
    ("d-dimer", "48065-7", "D-dimer", "ug/mL{FEU}"),
    ("ldh", "2532-0", "LDH", "U/L"),
    ("lymphocytes", "731-0", "Lymphocytes", "10*3/uL"),
    ("neutrophils", "751-8", "Neutrophils", "10*3/uL"),
    ("pco2", "2019-8", "pCO2", "mm[Hg]"),
    ("po2", "2703-7", "pO2", "mm[Hg]"),
)
Row = dict[str, str]
Result = tuple[str, str, str, str]
"""(code, name, value, unit) as the source has them."""


def radiographs(folder: Path) -> Path:
    """The table of the radiographs. Raises StackError where the data is not there."""
    table = folder / "cxr-hannover" / "data.csv"
    if not table.is_file():
        raise StackError(f"{folder} holds no cxr-hannover/data.csv", "give --source the folder that the README describes, or leave it out")
    return table


def recorded(folder: Path, started: datetime, run: str) -> Iterator[Outgoing]:
    """The messages in order of time; their last moment is `started`. Raises StackError where the data is not there."""
    first = {row["patient_id"]: row for row in reversed(list(csv.DictReader(radiographs(folder).open())))}
    stays = _stays(folder / "icu-mimic3-demo")
    rng = np.random.default_rng(int(run))  # another run sends other studies: the same UIDs would be other versions of these images
    everything: list[Outgoing] = []
    for number, row in enumerate(list(first.values())[:STUDIES]):
        patient = _Composite(folder, row, stays[number % len(stays)], number, run, started - LENGTH, rng)
        everything += patient.messages()
    for sample in SAMPLES:
        files = sorted(path for path in (folder / sample).rglob("*") if path.is_file() and path.name != "manifest.csv")
        everything += [each for path in files for each in of_file(path, LENGTH * float(rng.uniform(0.1, 0.9)))]
    yield from sorted(everything, key=lambda message: message.at)


class _Composite:
    """One patient made of a radiograph and a stay."""

    def __init__(self, folder: Path, row: Row, stay: tuple[list[Row], list[Row]], number: int, run: str, zero: datetime, rng: Any) -> None:
        self._folder, self._row, self._stay, self._zero, self._rng = folder, row, stay, zero, rng
        sex: Literal["F", "M"] = "F" if row["sex"] == "f" else "M"
        person = Person(
            f"H{run}{number:04d}", str(rng.choice(FAMILIES)), str(rng.choice(GIVEN[sex])), date(1955 + number % 40, 1 + number % 12, 5), sex
        )
        place = "E" if row["admission_offset"] in ("", "0") and number % 2 else "I"
        self._visit = Visit(person, place, str(rng.choice(PLACES[place])), f"{run}-H{number}")  # type: ignore[arg-type]
        view = row["projection"].upper()
        self._exam = Exam(f"HP{run}{number:04d}", f"HA{run}{number:04d}", uid(rng), "DX", "CHEST", "XRCHEST", f"Chest radiograph {view}",
                          f"{COMPOSITE}. Dyspnoea, pneumonia?", "A" if number % 7 == 0 else "R", 1)  # fmt: skip
        self._rejects = number % REJECTED_EACH == REJECTED_EACH - 1
        self._arrival = LENGTH * float(rng.uniform(0, 0.5))
        self._systems = {name: Hl7(f"{name}H{run}{number:04d}") for name in ("ADT", "RIS", "LIS", "MON", "MIMIC")}

    def messages(self) -> list[Outgoing]:
        """Admission, order, vital signs, laboratory, radiograph; a note that rejects one in REJECTED_EACH."""
        at, left = self._arrival, LENGTH - self._arrival
        ordered, acquired, rejected = at + left * 0.05, at + left * 0.2, at + left * 0.4
        film = self._radiograph(self._zero + acquired)
        return [
            Outgoing(at, "adt", self._systems["ADT"].adt("A01", self._visit, self._zero + at)),
            Outgoing(ordered, "ris", self._systems["RIS"].order("NW", self._visit, self._exam, self._zero + ordered)),
            Outgoing(acquired, "modality", dicom=film),
            *([Outgoing(rejected, "modality", dicom=_rejected(film, self._zero + rejected))] if self._rejects else []),
            *self._laboratory(acquired),
            *self._stay_messages(left),
        ]

    def _radiograph(self, at: datetime) -> Dataset:
        dataset = image(self._visit, self._exam, 1, at, self._rng)
        shown(dataset, hannover_film(self._folder, self._row["image_id"]), self._row["projection"].upper())
        dataset.ImageComments = COMPOSITE
        return dataset

    def _laboratory(self, acquired: timedelta) -> Iterator[Outgoing]:
        """The radiograph's own values, those taken on its day or in the week before it."""
        by_day: dict[float, list[Result]] = defaultdict(list)
        for column, code, name, unit in HANNOVER_LABS:
            offset, value = self._row[f"{column}_offset"], self._row[f"{column}_val"]
            if offset and value and -7 <= float(offset) <= 0:
                by_day[float(offset)].append((code, name, value, unit))
        for n, (days, results) in enumerate(sorted(by_day.items())):
            taken = self._zero + acquired + timedelta(days=days) - timedelta(minutes=50)
            at = acquired - timedelta(minutes=1) * n
            yield Outgoing(at, "lab", self._raw("LIS", results, taken, self._zero + at, f"HL{n}", "LN"))

    def _stay_messages(self, left: timedelta) -> Iterator[Outgoing]:
        vitals, labs = self._stay
        for source, system, rows, coding in (("monitor", "MON", vitals, "L"), ("lab", "MIMIC", labs, "LN")):
            moments = _by_time(rows)[-(VITALS_EACH if source == "monitor" else LABS_EACH) :]
            for n, results in enumerate(moments):
                at = self._arrival + left * ((n + 1) / (len(moments) + 1))
                moment = self._zero + at
                yield Outgoing(at, source, self._raw(system, results, moment, moment, f"{system}{n}", coding))  # type: ignore[arg-type]

    def _raw(self, system: str, results: list[Result], taken: datetime, at: datetime, order: str, coding: str) -> bytes:
        rows = [(code, name, coding, value, unit) for code, name, value, unit in results]
        return self._systems[system].raw_results(self._visit, rows, taken, at, order=f"{order}-{self._visit.number}", note=COMPOSITE)


def _rejected(film: Dataset, at: datetime) -> Dataset:
    note = rejection_note(film, at)
    note.SeriesDescription = COMPOSITE
    return note


def hannover_film(folder: Path, image_id: str) -> Path:
    """A radiograph in the real data."""
    return folder / "cxr-hannover" / "png" / f"{image_id}.png"


def shown(dataset: Dataset, film: Path, view: str) -> None:
    """Puts a grey picture in place of the object's pixels. view: as View Position (0018,5101) has it."""
    with Image.open(film) as picture:
        pixels = np.asarray(picture.convert("L"), dtype="<u2") << 4
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.ViewPosition = view


def _by_time(rows: list[Row]) -> list[list[Result]]:
    moments: dict[str, list[Result]] = defaultdict(list)
    for row in rows:
        code = row.get("loinc_code") or row.get("concept") or row["label"]
        value = row.get("value") or row["valuenum"]
        moments[row["charttime"]].append((code, row.get("label") or row.get("concept") or code, value, row["valueuom"]))
    return [results for _, results in sorted(moments.items())]


def _stays(folder: Path) -> list[tuple[list[Row], list[Row]]]:
    """(vital signs, laboratory) of each patient that has both."""
    tables = []
    for name in ("vitals_long.csv.gz", "labs_long.csv.gz"):
        by_patient: dict[str, list[Row]] = defaultdict(list)
        with gzip.open(folder / name, "rt") as lines:
            for row in csv.DictReader(lines):
                by_patient[row["subject_id"]].append(row)
        tables.append(by_patient)
    vitals, labs = tables
    return [(vitals[patient], labs[patient]) for patient in sorted(vitals) if patient in labs]
