"""A log into a running stack: its input records through the real Kafka, in the one order, as fast as asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from pipeline.ports import EventLog, Record
from pipeline.replay.log_file import LoggedRecord, LogReader, milliseconds
from pipeline.replay.order import in_order
from schemas.topics import BY_NAME, FINDINGS, INPUTS

SENT_TOGETHER = 500
_INPUTS = frozenset(topic.name for topic in INPUTS)
_SAID = frozenset({FINDINGS.name})


async def feed(
    log: LogReader | Sequence[LoggedRecord],
    kafka: EventLog,
    *,
    until: datetime | None = None,
    pace: Callable[[datetime], Awaitable[None]] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """How many records were acknowledged. Answers (assessments) are not sent: the stack gives its own. Raises Unavailable.

    The records keep their keys, their event ids (what was applied there before is known as a duplicate where it is marked as resent) and
    the times in their documents, which are all that ranks. Kafka's own time of a record is that of its sending: by the log's, a stage would
    look as far behind as the log is old, and retention would take an old log away before it is read.

    What image models said goes first: the stack has not the pictures, and would else be sooner in saying that they are gone.
    """
    said = await _send(_wanted(log, _SAID, until), kafka, None, progress)
    return said + await _send(_wanted(log, _INPUTS - _SAID, until), kafka, pace, lambda done: progress(said + done))


def _wanted(log: LogReader | Sequence[LoggedRecord], topics: frozenset[str], until: datetime | None) -> Iterator[LoggedRecord]:
    end = None if until is None else milliseconds(until)
    return (record for record in in_order(log) if record.topic in topics and (end is None or record.timestamp <= end))


async def _send(
    records: Iterable[LoggedRecord],
    kafka: EventLog,
    pace: Callable[[datetime], Awaitable[None]] | None,
    progress: Callable[[int], None],
) -> int:
    sent, waiting = 0, list[Record]()
    for record in records:
        if pace is not None:
            await pace(datetime.fromtimestamp(record.timestamp / 1000, UTC))
        waiting.append(Record(BY_NAME[record.topic], record.key, record.value, record.headers))
        if len(waiting) >= (1 if pace is not None else SENT_TOGETHER):
            await kafka.append(waiting)
            sent += len(waiting)
            waiting = []
            progress(sent)
    if waiting:
        await kafka.append(waiting)
    return sent + len(waiting)
