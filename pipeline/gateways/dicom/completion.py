"""When a study is complete: MPPS, instance availability, expected count, or quiet time; whichever says so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import structlog

from pipeline.domain import timestamps
from pipeline.errors import Unavailable
from pipeline.ports import Clock, Step, StepState, Study, StudyLedger
from pipeline.services.intake import Arrival, Intake, Origin
from schemas.events import ImagingEvent
from schemas.topics import IMAGING

log = structlog.get_logger()

SYSTEM = "dicom"
"""`source` of every DICOM origin: an object that modality and PACS both forward is the same object. The event names the AE title."""


class Completion:
    """Turns what is said about completeness into events, and watches for studies that fall quiet."""

    def __init__(self, intake: Intake, ledger: StudyLedger, clock: Clock, quiet_s: float) -> None:
        self._intake = intake
        self._ledger = ledger
        self._clock = clock
        self._quiet = timedelta(seconds=quiet_s)

    async def image_arrived(self, study: Study, expected: int | None) -> None:
        """Notes the image; the study is complete when (0020,1208) of its objects is reached. Raises Unavailable."""
        known = await self._ledger.note_image(study)
        if expected is not None and known.instances >= expected and known.told < known.instances:
            await self._tell(known, "count", str(known.instances))

    async def step_ended(self, step: Step, state: StepState) -> None:
        """MPPS N-SET to COMPLETED or DISCONTINUED. Raises Unavailable: then the step is still in progress."""
        known = await self._ledger.study(step.study_uid)
        patient = step.patient or (known.patient if known else None)
        if patient is None:
            await self._intake.ignore(Origin(SYSTEM, "complete", f"{step.study_uid}|mpps|{step.step_uid}"), "unknown-study")
        else:
            now = self._clock.now()
            study = Study(step.study_uid, patient, step.source, now, known.instances if known else 0)
            await self._tell(study, "mpps", step.step_uid)
        await self._ledger.note_step(Step(step.step_uid, step.study_uid, patient, step.source, state), self._clock.now())

    async def available(self, study_uid: str, notice_uid: str, online: bool) -> str:
        """Instance availability notification: "accepted" or the reason it is ignored for. Raises Unavailable."""
        known = await self._ledger.study(study_uid)
        reason = "unknown-study" if known is None else ("not-available" if not online else None)
        if known is None or reason is not None:
            await self._intake.ignore(Origin(SYSTEM, "complete", f"{study_uid}|ian|{notice_uid}"), reason or "unknown-study")
            return str(reason)
        await self._tell(known, "ian", notice_uid)
        return "accepted"

    async def watch(self) -> None:
        """Runs until cancelled. What fell quiet while the gateway was down is found at the first look."""
        pause = min(1.0, max(0.05, self._quiet.total_seconds() / 4))
        while True:
            try:
                await self.look()
            except Unavailable:
                log.warning("quiet_studies_postponed")
            except Exception:  # whatever it is, the next look may go well; to stop looking would never
                log.exception("quiet_studies_failed")
            await asyncio.sleep(pause)

    async def look(self) -> int:
        """Says of each study that fell quiet that it is complete, and returns how many those were. Raises Unavailable."""
        now = self._clock.now()
        quiet = await self._ledger.quiet(since=now - self._quiet)
        for study in quiet:
            await self._tell(study, "quiet", str(study.instances))
        return len(quiet)

    async def _tell(self, study: Study, by: Literal["mpps", "ian", "count", "quiet"], token: str) -> None:
        origin, now = Origin(SYSTEM, "complete", f"{study.study_uid}|{by}|{token}"), self._clock.now()
        event = ImagingEvent(
            event_id=origin.event_id(),
            patient=study.patient,
            source=study.source,
            recorded_at=now,
            kind="complete",
            study_uid=study.study_uid,
            acquired=timestamps.missing(now),
            instances=study.instances,
            completed_by=by,
        )
        await self._intake.accept(Arrival(origin, [(IMAGING, event)]))
        await self._ledger.note_told(study.study_uid, study.instances)
        log.info("dicom_study_complete", by=by)
