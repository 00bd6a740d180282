"""A log into a running stack: its input records through the real Kafka, in the one order, as fast as asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

from pipeline.ports import EventLog, Record
from pipeline.replay.log_file import LoggedRecord
from schemas.topics import BY_NAME, INPUTS

SENT_TOGETHER = 500
_INPUTS = frozenset(topic.name for topic in INPUTS)


async def feed(
    records: Iterable[LoggedRecord],
    log: EventLog,
    *,
    until: datetime | None = None,
    pace: Callable[[datetime], Awaitable[None]] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """How many records were acknowledged. Answers (assessments) are not sent: the stack gives its own. Raises Unavailable.

    The records keep their times, event ids and keys: what was applied there before is known as a duplicate where it is marked as resent.
    """
    sent, waiting = 0, list[Record]()
    for record in records:
        at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        if record.topic not in _INPUTS or (until is not None and at > until):
            continue
        if pace is not None:
            await pace(at)
        waiting.append(Record(BY_NAME[record.topic], record.key, record.value, record.headers))
        if len(waiting) >= (1 if pace is not None else SENT_TOGETHER):
            await log.append(waiting)
            sent += len(waiting)
            waiting = []
            progress(sent)
    if waiting:
        await log.append(waiting)
    return sent + len(waiting)
