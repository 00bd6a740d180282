"""The escalation stage: the topic worklist in, alerts raised, changed and closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.errors import NotFound
from pipeline.ports import Batch, Clock, EventLog, OffsetStore, Received, Record, WorklistReader
from pipeline.services.batch import Done, Outcome
from pipeline.services.dead_letters import dead_letter, reasons
from pipeline.services.escalation import Escalation
from schemas import codec
from schemas.topics import WORKLIST
from schemas.worklist import WorklistItem


class EscalationStage:
    """Handles batches of `worklist`. The topic is compacted, so a hole between two records is no loss; `Escalation.sweep` finds what is."""

    def __init__(
        self, escalation: Escalation, offsets: OffsetStore, reader: WorklistReader, log: EventLog, clock: Clock, group: str
    ) -> None:
        self._escalation = escalation
        self._offsets = offsets
        self._reader = reader
        self._log = log
        self._clock = clock
        self._group = group
        self.dead_lettered: Counter[str] = Counter()

    async def handle(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Alerts first, then the applied offsets: what comes twice changes nothing. Raises Unavailable: the batches must come again."""
        async with self._offsets.begin(self._group, [batch.place for batch in batches]) as transaction:
            fresh = [[record for record in batch.records if record.offset > transaction.applied[batch.place]] for batch in batches]
            items, letters = await self._decode([record for records in fresh for record in records])
            if letters:
                await self._log.append(letters)
            await self._escalation.observe(items)
            offsets = {batch.place: records[-1].offset for batch, records in zip(batches, fresh, strict=True) if records}
            if offsets:
                await transaction.advance(offsets)
        self.dead_lettered.update(reasons(letters))
        return [Done(len(records)) for records in fresh]

    async def _decode(self, records: Sequence[Received]) -> tuple[list[WorklistItem], list[Record]]:
        items: list[WorklistItem] = []
        letters: list[Record] = []
        for record in records:
            try:
                items += [codec.decode(WORKLIST, record.body)] if record.body else await self._closed(record.key.decode())
            except codec.UndecodableRecord as error:
                letters.append(dead_letter(record, error.reason, error.explanation, self._clock.now()))
            except UnicodeDecodeError:
                letters.append(dead_letter(record, "undecodable-text", "the key is not UTF-8", self._clock.now()))
        return items, letters

    async def _closed(self, study_uid: str) -> list[WorklistItem]:
        """A null says that the study has left the list, not why: the item does. One that is not committed yet is left to the sweep."""
        try:
            item = (await self._reader.get(study_uid)).item
        except NotFound:
            return []
        return [item] if item.state == "closed" else []
