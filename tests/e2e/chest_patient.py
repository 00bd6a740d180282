"""Somebody with a real chest radiograph, as files for `readfirst send`: the order and its words, the film, laboratory results."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pydicom

from pipeline.simulation.messages import Exam, Hl7, Person, Visit, image, uid
from pipeline.simulation.recorded import hannover_film, shown

FILM = "c9280a30"
"""Of Hannover's, one that the image head looks at."""


@dataclass
class ChestPatient:
    """data: the folder of real data. Times are now."""

    data: Path
    number: str

    def __post_init__(self) -> None:
        self.study = uid(np.random.default_rng())
        self._systems = {name: Hl7(f"{name}{self.number}") for name in ("RIS", "LIS")}
        self._visit = Visit(Person(self.number, "Sommer", "Petra", date(1950, 3, 1), "F"), "I", "WARD 3A", f"V{self.number}")
        self._exam = Exam(
            *(f"P{self.number}", f"A{self.number}", self.study, "DX", "CHEST", "XRCHEST", "Chest radiograph AP"),
            *("sepsis?", "R", 1),
        )

    def order(self) -> bytes:
        """Its words suspect a sepsis."""
        return self._systems["RIS"].order("NW", self._visit, self._exam, datetime.now(UTC))

    def film(self) -> bytes:
        """A DICOM file."""
        dataset = image(self._visit, self._exam, 1, datetime.now(UTC), np.random.default_rng(1))
        shown(dataset, hannover_film(self.data, FILM), "AP")
        body = io.BytesIO()
        pydicom.dcmwrite(body, dataset, enforce_file_format=True)
        return body.getvalue()

    def results(self, **values: float) -> bytes:
        """Final, in the catalogue's names and units."""
        now = datetime.now(UTC)
        measured = [(name, value, "") for name, value in values.items()]
        return self._systems["LIS"].results(self._visit, "CHEM", measured, now, now, order=f"L{self.number}{now:%H%M%S%f}")
