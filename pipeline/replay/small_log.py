"""A log that fits in memory: its records in order, what its author calls the studies, and what it tells, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.adapters.memory.event_log import partition_of
from pipeline.domain.image_heads import Scope
from pipeline.replay.log_file import LoggedRecord, LogHeader, LogReader, LogWriter, milliseconds
from pipeline.replay.order import in_order
from pipeline.replay.story import Story
from pipeline.replay.times import PLAIN_DAY, Day, WrittenWrong
from schemas import codec
from schemas.topics import TOPICS

PARTITIONS = 8
_SCHEMAS = {topic.name: str(topic.document.__struct_config__.tag) for topic in TOPICS}


@dataclass(frozen=True, slots=True)
class SmallLog:
    """records: in the order in which they are replayed. names: study UID -> what the author calls it. heads: as LogHeader's."""

    records: Sequence[LoggedRecord]
    day: Day = PLAIN_DAY
    names: Mapping[str, str] = field(default_factory=dict)
    heads: dict[str, Scope] | None = None

    @classmethod
    def of(cls, *stories: Story) -> SmallLog:
        """What Kafka would hold after these stories; of what happened at one moment, the story that is given first comes first."""
        if not stories:
            raise WrittenWrong("a log needs the story of at least one patient")
        days = {story.day for story in stories}
        if len(days) > 1:
            raise WrittenWrong("the stories of one log are told by one clock: give each patient the same `on` and `zone`")
        steps = sorted((step for story in stories for step in story.steps), key=lambda step: step.logged_at)
        offsets: Counter[tuple[str, int]] = Counter()
        records = []
        for step in steps:
            key = step.event.patient.encode()
            place = (step.topic.name, partition_of(key, PARTITIONS))
            headers = {"event_id": step.event.event_id, "trace_id": step.event.event_id.replace("-", ""), "source": step.source}
            if step.again:
                headers["redelivery"] = "1"
            body = codec.encode(step.event)
            records.append(LoggedRecord(*place, offsets[place], milliseconds(step.logged_at), key, body, headers))
            offsets[place] += 1
        return cls(list(in_order(records)), days.pop(), {uid: name for story in stories for uid, name in story.names.items()})

    @classmethod
    def read(cls, path: Path | str) -> SmallLog:
        """A whole file. Raises UnreadableLog or DamagedLog."""
        reader = LogReader(path)
        try:
            header, span, records = reader.header, reader.span, list(in_order(reader))
        finally:
            reader.close()
        begins = datetime.fromtimestamp(span[0] / 1000, UTC) if span else header.created_at
        zone = Day.named(zone=header.zone).zone
        return cls(records, Day(begins.astimezone(zone).date(), zone), header.names, header.heads)

    def write(self, path: Path | str, note: str = "") -> None:
        """As a file of its own; the same log gives the same file."""
        header = LogHeader(
            created_at=self.day.moment("00:00"),
            schemas={topic: schema for topic, schema in _SCHEMAS.items() if any(record.topic == topic for record in self.records)},
            partitions=PARTITIONS,
            note=note,
            names=dict(self.names),
            heads=self.heads,
            zone=self.day.zone.key,
        )
        with LogWriter(path, header) as writer:
            for record in self.records:
                writer.write(record)

    def with_records(self, records: Iterable[LoggedRecord]) -> SmallLog:
        """The same, with these records instead; each partition's offsets are counted anew, so that none is missing."""
        offsets: Counter[tuple[str, int]] = Counter()
        numbered = []
        for record in records:
            numbered.append(record._replace(offset=offsets[record.topic, record.partition]))
            offsets[record.topic, record.partition] += 1
        return replace(self, records=numbered)

    def patients(self) -> list[bytes]:
        """The keys, by first appearance."""
        return list(dict.fromkeys(record.key for record in self.records))

    def __str__(self) -> str:
        """A line for each record: when, on which topic and partition, whose, and the document."""
        numbers = {key: number for number, key in enumerate(self.patients(), 1)}
        return "\n".join(
            f"{self.day.words(datetime.fromtimestamp(record.timestamp / 1000, UTC))}  {record.topic}[{record.partition}]  "
            f"patient {numbers[record.key]}  {(record.value or b'').decode(errors='replace')}"
            for record in self.records
        )
