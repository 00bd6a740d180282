"""What the DICOM gateways must not forget about studies in progress."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

StepState = Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"]
"""Performed Procedure Step Status (0040,0252), PS3.4 F.7."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study that is arriving. told: how many instances it had when it was last said to be complete (0: never said)."""

    study_uid: str
    patient: str
    source: str
    last_image: datetime
    instances: int
    told: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A Modality Performed Procedure Step. patient None: the step named nobody."""

    step_uid: str
    study_uid: str
    patient: str | None
    source: str
    state: StepState


class StudyLedger(Protocol):
    """Pseudonyms and UIDs only; shared by every gateway that takes DICOM objects. The methods raise Unavailable."""

    async def note_image(self, study: Study) -> Study:
        """Remembers that an image came; returns the study as it now stands. A smaller count or an earlier time changes nothing."""
        ...

    async def study(self, study_uid: str) -> Study | None:
        """None: never seen, or long ago."""
        ...

    async def quiet(self, since: datetime, limit: int = 500) -> list[Study]:
        """Studies that got no image after `since` and were not said to be complete as they stand, the quietest first."""
        ...

    async def note_told(self, study_uid: str, instances: int) -> None:
        """Remembers that the study was said to be complete with so many instances."""
        ...

    async def step(self, step_uid: str) -> Step | None:
        """The performed procedure step of that SOP Instance UID."""
        ...

    async def note_step(self, step: Step, now: datetime) -> None:
        """Creates a step, or changes its state."""
        ...
