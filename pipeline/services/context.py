"""The context stage: events become facts, facts become windows, and what a window says of studies to be read is sent on.

One transaction for all batches that have come: their applied offsets locked, windows updated in memory, what follows produced and
acknowledged, facts appended, the offsets advanced, commit. Whatever fails, the windows it touched are dropped and the batches come again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import structlog

from pipeline.domain import evidence, features
from pipeline.domain.window import Window
from pipeline.ports import Batch, Clock, ContextStore, ContextTransaction, EventLog, Place, Record
from pipeline.services.admission import SOURCE, Admission, Admitted, Recent
from pipeline.services.assessing import Extract, Gather, View, assessment, request, view
from pipeline.services.batch import Outcome, unapplied
from pipeline.services.windows import Held, Windows
from schemas import codec
from schemas.assessments import Assessment, AssessRequest
from schemas.events import AnyEvent, FindingEvent, ImagingEvent, OrderEvent, ReportEvent
from schemas.topics import ASSESS, ASSESSMENTS, Topic

log = structlog.get_logger()

REASSESSED_AT_ONCE = 100
"""Patients of one transaction, when the rules have changed: batches wait so long."""
_WAKING = (ImagingEvent, OrderEvent, ReportEvent, FindingEvent)
"""Only these can give a patient something to read who had nothing, or contradict what was read."""


class ContextStage:
    """Counts what became of each record: `applied`, `ignored` and `dead_lettered` by reason; `assessed` and `suppressed` count patients."""

    def __init__(
        self,
        store: ContextStore,
        log: EventLog,
        clock: Clock,
        group: str,
        gather: Gather = evidence.gather,
        extract: Extract = features.extract,
        windows_max: int = 20_000,
        on_window: Callable[[Window], None] = lambda window: None,
    ) -> None:
        """on_window: shown of each batch the window that it touched last."""
        self._store = store
        self._log = log
        self._clock = clock
        self._group = group
        self._gather = gather
        self._extract = extract
        self._turn = asyncio.Lock()
        self._windows = Windows(windows_max)
        self._on_window = on_window
        self.windows_max = windows_max
        self._applied: dict[Place, int] = {}
        self._caught_up: set[Place] = set()
        self._suspect: dict[Place, int] = {}
        self._recent = Recent()
        self._rules_changed = False  # since this worker began: what was said of a window that is derived anew was said by others
        self.applied = 0
        self.ignored: Counter[str] = Counter()
        self.dead_lettered: Counter[str] = Counter()
        self.assessed = 0
        self.suppressed = 0

    @property
    def windows(self) -> int:
        """How many are held in memory."""
        return len(self._windows)

    def forget(self) -> None:
        """After a rebalance: others may have moved on with these patients."""
        self._windows.clear()
        self._applied = {}
        self._caught_up.clear()
        self._suspect.clear()

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Applies what is new of the batches (of different places), together. On an exception nothing took effect, though what was
        produced may be out."""
        async with self._turn:
            return await self._handle(batches)

    async def reassess(self) -> int:
        """The rules have changed: says of who waits what is different by them, and how many were looked at. Raises Unavailable.

        Those of partitions from which nothing has come since this worker began: see `catch_up`.
        """
        self._rules_changed = True
        while True:
            mine = self._applied
            patients = list(dict.fromkeys([*self._windows.patients(), *await self._waiting(mine)]))
            if await self._say_anew(patients, mine):
                return len(patients)

    async def catch_up(self) -> int:
        """Where the rules changed while nobody worked: says by them what was said by others, once something has come over a partition.

        How many patients that were. Raises Unavailable.
        """
        mine = self._applied
        new = mine.keys() - self._caught_up
        if not new:
            return 0
        patients = await self._waiting(new, behind=True)
        self._windows.unsaid(patients)
        if await self._say_anew(patients, mine):
            self._caught_up |= new
        return len(patients)

    async def _waiting(self, places: Iterable[Place], *, behind: bool = False) -> list[str]:
        if not self._applied:
            return []
        partitions = {place.partition for place in places}
        async with self._turn, self._store.begin(self._group, list(self._applied)) as transaction:
            return await transaction.waiting(partitions, behind=behind)

    async def _say_anew(self, patients: Sequence[str], mine: Mapping[Place, int]) -> bool:
        """False: a rebalance has come between, and some of them may be another worker's."""
        for start in range(0, len(patients), REASSESSED_AT_ONCE):
            async with self._turn:
                if self._applied is mine:
                    await self._reassess(patients[start : start + REASSESSED_AT_ONCE])
                    self._windows.trim()
                if self._applied is not mine:
                    self._windows.clear()
                    return False
        return True

    async def _reassess(self, patients: Sequence[str]) -> None:
        if not self._applied:
            return
        try:
            async with self._store.begin(self._group, list(self._applied)) as transaction:
                if any(self._applied.get(place) != offset for place, offset in transaction.applied.items()):
                    self._windows.clear()
                    return
                await self._load(transaction, [patient for patient in patients if self._windows.get(patient) is None])
                held = [patient for patient in patients if self._windows.get(patient) is not None]
                records = [record for patient in held for record in self._say(transaction.version, patient, Admitted())]
                if records:
                    await self._log.append(records)
        except BaseException:
            self._windows.unsaid(patients)
            raise

    async def _load(self, transaction: ContextTransaction, patients: Sequence[str]) -> None:
        """Those who live on under their own name and may have something to read; what has been said of them is not known."""
        away = await transaction.survivors(patients)
        wanted = [patient for patient in patients if patient not in away and not self._windows.idle(patient)]
        for patient, history in (await transaction.histories(wanted)).items() if wanted else ():
            self._windows.put(patient, Held.derived(history))

    async def _handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        admission = None
        try:
            async with self._store.begin(self._group, [batch.place for batch in batches]) as transaction:
                pending = unapplied(transaction.applied, batches)
                self._drop_overtaken(batches, pending.applied)
                if pending.fresh:
                    admission = Admission(transaction, self._clock.now(), self._recent)
                    admitted = await admission.take(pending.records, self._suspects(pending.fresh))
                    await self._apply(transaction, admitted)
                    await transaction.advance(pending.offsets)
        except BaseException:
            self._undo(batches, admission)
            raise
        self._applied |= pending.applied | pending.offsets
        if admission is not None:
            self._recent.update(admission.result.taken)
            self._count(admission.result)
            if (window := self._windows.newest) is not None:
                self._on_window(window)
        self._windows.trim()
        return pending.outcomes

    def _drop_overtaken(self, batches: Sequence[Batch], applied: Mapping[Place, int]) -> None:
        """Whatever was applied by another worker, perhaps after a window was derived without it, is not in these windows."""
        expected = {batch.place: self._applied.get(batch.place, batch.records[0].offset - 1) for batch in batches}
        if any(expected[place] != offset for place, offset in applied.items()):
            self._windows.clear()

    def _suspects(self, fresh: Sequence[Batch]) -> Collection[Place]:
        """Whose records may have been handled before by somebody who then died: the first batch here, and what failed before."""
        return {
            batch.place
            for batch in fresh
            if batch.place not in self._applied or batch.records[0].offset <= self._suspect.get(batch.place, -1)
        }

    def _undo(self, batches: Sequence[Batch], admission: Admission | None) -> None:
        for batch in batches:
            self._suspect[batch.place] = max(batch.records[-1].offset, self._suspect.get(batch.place, -1))
        if admission is not None:
            self._windows.drop([*admission.result.touched, *admission.result.identified])

    def _count(self, admitted: Admitted) -> None:
        self.applied += len(admitted.facts)
        self.ignored.update(ignored.reason for ignored in admitted.ignored)
        self.dead_lettered.update(admitted.dead)
        if admitted.dead:
            log.warning("records_dead_lettered", reasons=dict(admitted.dead))
        if admitted.identified:
            log.info("patients_identified_anew", count=len(admitted.identified))

    async def _apply(self, transaction: ContextTransaction, admitted: Admitted) -> None:
        self._windows.drop(admitted.identified)
        await self._update(transaction, admitted)
        records = [*admitted.produced]
        for patient in {**dict.fromkeys(admitted.touched), **dict.fromkeys(admitted.identified)}:
            records += self._say(transaction.version, patient, admitted)
        if records:
            await self._log.append(records)
        await transaction.append(admitted.facts, admitted.ignored)

    async def _update(self, transaction: ContextTransaction, admitted: Admitted) -> None:
        """Brings the windows of the touched patients up to date, those in memory and those that have to be loaded."""
        wanted = [patient for patient, events in admitted.touched.items() if self._needs_loading(patient, events)]
        wanted += [patient for patient, alive in admitted.identified.items() if alive and patient not in admitted.touched]
        histories: Mapping[str, list[AnyEvent]] = await transaction.histories(wanted) if wanted else {}
        for patient in wanted:
            held = Held.derived(histories.get(patient, ()))
            if patient in admitted.identified:
                held.closed = {}
            elif not self._rules_changed and (waiting := held.window.open_studies):
                held.digest = view(held.window, waiting, self._gather, self._extract).digest()
            self._windows.put(patient, held)
        stuck = [patient for patient, events in admitted.touched.items() if not self._take(patient, events)]
        if again := [patient for patient in stuck if patient not in histories]:
            histories = {**histories, **await transaction.histories(again)}
        for patient in stuck:
            held_now = self._windows.get(patient)
            assert held_now is not None
            held_now.window = held_now.window.derive([*histories.get(patient, ()), *admitted.touched[patient]])

    def _needs_loading(self, patient: str, events: Iterable[AnyEvent]) -> bool:
        if self._windows.get(patient) is not None:
            return False
        return not self._windows.idle(patient) or any(isinstance(event, _WAKING) for event in events)

    def _take(self, patient: str, events: Iterable[AnyEvent]) -> bool:
        """False: the window has to be derived anew."""
        held = self._windows.get(patient)
        return held is None or all(held.window.apply(event) for event in events)

    def _say(self, version: int, patient: str, admitted: Admitted) -> list[Record]:
        """What follows from the patient's window, if that is news; a patient with nothing to read needs no window."""
        held = self._windows.get(patient)
        if held is None:
            return []
        studies = held.to_say()
        records: list[Record] = []
        if studies:
            seen = view(held.window, studies, self._gather, self._extract)
            digest = seen.digest()
            if digest == held.digest and not seen.closed:
                self.suppressed += 1
            else:
                self.assessed += 1
                records = self._records(version, patient, seen, admitted)
            held.digest = digest
            held.note()
        if not any(study.closed is None for study in studies):
            self._windows.rest(patient)
        return records

    def _records(self, version: int, patient: str, seen: View, admitted: Admitted) -> list[Record]:
        now = self._clock.now()
        cause = admitted.causes.get(patient)
        trace = {"trace_id": cause.headers["trace_id"]} if cause is not None and "trace_id" in cause.headers else {}
        trigger = cause.headers.get("event_id") if cause is not None else None
        documents: list[tuple[Topic, Assessment | AssessRequest]] = [(ASSESSMENTS, assessment(patient, version, seen, now, trigger))]
        if seen.open:
            documents.append((ASSESS, request(patient, version, seen, now, trigger)))
        return [
            Record(topic, patient.encode(), codec.encode(document), {**trace, "event_id": document.event_id, "source": SOURCE})
            for topic, document in documents
        ]
