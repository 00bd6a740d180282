"""Studies in progress, in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pipeline.ports import Step, Study


class MemoryStudyLedger:
    """StudyLedger."""

    def __init__(self) -> None:
        self._studies: dict[str, Study] = {}
        self._steps: dict[str, Step] = {}

    async def note_image(self, study: Study) -> Study:
        """As StudyLedger.note_image."""
        known = self._studies.get(study.study_uid)
        if known is not None:
            newest, most = max(known.last_image, study.last_image), max(known.instances, study.instances)
            study = replace(study, last_image=newest, instances=most, told=known.told)
        self._studies[study.study_uid] = study
        return study

    async def study(self, study_uid: str) -> Study | None:
        """As StudyLedger.study."""
        return self._studies.get(study_uid)

    async def quiet(self, since: datetime, limit: int = 500) -> list[Study]:
        """As StudyLedger.quiet."""
        found = [study for study in self._studies.values() if study.told < study.instances and study.last_image <= since]
        return sorted(found, key=lambda study: study.last_image)[:limit]

    async def note_told(self, study_uid: str, instances: int) -> None:
        """As StudyLedger.note_told."""
        if (known := self._studies.get(study_uid)) is not None:
            self._studies[study_uid] = replace(known, told=max(known.told, instances))

    async def step(self, step_uid: str) -> Step | None:
        """As StudyLedger.step."""
        return self._steps.get(step_uid)

    async def note_step(self, step: Step, now: datetime) -> None:
        """As StudyLedger.note_step."""
        known = self._steps.get(step.step_uid)
        self._steps[step.step_uid] = replace(known, state=step.state) if known is not None else step
