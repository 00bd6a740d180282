"""Topics of a running Kafka into an event log, without a consumer group: nobody else notices, and nothing is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep
from typing import cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.adapters.kafka.connection import LEADER_IS_SOUGHT, client_config
from pipeline.domain.image_heads import Scopes
from pipeline.errors import NotFound, Unavailable
from pipeline.replay.log_file import LoggedRecord, LogHeader, LogWriter, Place, milliseconds
from pipeline.settings import Kafka
from schemas.topics import ASSESSMENTS, BY_NAME, INPUTS, Topic

TOPICS = (*INPUTS, ASSESSMENTS)
"""What happened, and what was answered to it."""
FETCH = 2_000
FLUSH_S = 2.0
"""A recorder that is killed while it follows has lost no more than this."""
ANSWER_S = 15.0
AGAIN_S = 0.25


class _Scored(msgspec.Struct):
    model: str | None = None
    model_version: str | None = None


class _Assessed(msgspec.Struct):
    risk: _Scored | None = None


_assessed = msgspec.json.Decoder(_Assessed)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is recorded. begin, end: by Kafka's time of a record; follow: goes on until it is told to stop."""

    topics: tuple[Topic, ...] = TOPICS
    begin: datetime | None = None
    end: datetime | None = None
    follow: bool = False


@dataclass(slots=True)
class Recorded:
    """What came of it. missed: records that retention had removed before they could be appended."""

    records: int = 0
    json_bytes: int = 0
    missed: int = 0
    topics: dict[str, int] = field(default_factory=dict)


def topics_named(names: Iterable[str]) -> tuple[Topic, ...]:
    """Raises NotFound."""
    found = []
    for name in names:
        if name not in BY_NAME:
            raise NotFound(f"there is no topic {name!r}; there are: {', '.join(BY_NAME)}")
        found.append(BY_NAME[name])
    return tuple(found)


def header(topics: Iterable[Topic], policy: str, partitions: int, heads: Scopes | None = None) -> LogHeader:
    """Of a log that is begun now."""
    return LogHeader(
        created_at=datetime.now(UTC),
        schemas={topic.name: str(topic.document.__struct_config__.tag) for topic in topics},
        program=f"readfirst {version('readfirst')}",
        policy=policy,
        partitions=partitions,
        heads=None if heads is None else dict(heads),
    )


def record(
    kafka: Kafka,
    path: Path,
    wanted: Wanted,
    policy: str,
    heads: Scopes | None = None,
    *,
    append: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Recorded:
    """Up to the present end of each partition, or for ever. Raises Unavailable, UnreadableLog.

    append: goes on where the log at `path` ends. progress: records written, and how many there are to write (0: nobody knows).
    """
    with LogWriter(path, header(wanted.topics, policy, kafka.partitions, heads), append=append) as writer, _consumer(kafka) as consumer:
        recorder = _Recorder(consumer, kafka, wanted, writer, progress)
        recorder.assign()
        recorder.run(stopping)
        recorder.done.json_bytes = writer.json_bytes
    return recorder.done


class _Recorder:
    def __init__(self, consumer: Consumer, kafka: Kafka, wanted: Wanted, writer: LogWriter, progress: Callable[[int, int], None]) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._wanted = wanted
        self._writer = writer
        self._progress = progress
        self._begin = None if wanted.begin is None else milliseconds(wanted.begin)
        self._end = None if wanted.end is None else milliseconds(wanted.end)
        self._left: dict[Place, int] = {}
        """Offset of the first record that is not wanted any more; empty when following."""
        self._total = 0
        self.done = Recorded()

    def assign(self) -> None:
        """Every partition from where the log ends, or from the time that is wanted, or from its beginning."""
        places = [
            TopicPartition(self._kafka.topic_prefix + topic.name, number)
            for topic in self._wanted.topics
            for number in range(self._kafka.partitions)
        ]
        starts = self._by_time(places)
        assigned = []
        for place in places:
            name = (place.topic.removeprefix(self._kafka.topic_prefix), place.partition)
            low, high = self._span(place)
            start = max(starts.get((place.topic, place.partition), low), low)
            if (known := self._writer.ends.get(name)) is not None:
                self.done.missed += max(0, low - known - 1)
                start = max(low, known + 1)
            assigned.append(TopicPartition(place.topic, place.partition, start))
            if start < high:
                self._left[name] = high
                self._total += high - start
        self._consumer.assign(assigned)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until everything wanted is written, or until it is told to stop."""
        flushed = heard = monotonic()
        while not stopping() and (self._left or self._wanted.follow):
            messages = self._consumer.consume(FETCH, timeout=0.5)
            for message in messages:
                self._take(message)
            now = monotonic()
            heard = now if messages or self._wanted.follow else heard
            if now - heard > ANSWER_S:
                raise Unavailable("Kafka does not send the records that it says it has")
            if self._wanted.follow and now - flushed > FLUSH_S:
                self._writer.flush()
                flushed = now
            self._progress(self.done.records, 0 if self._wanted.follow else self._total)

    def _take(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return
            raise Unavailable(f"Kafka does not answer: {error}")
        record = _logged(message, self._kafka.topic_prefix)
        place = (record.topic, record.partition)
        wanted = place in self._left or self._wanted.follow
        if wanted and not (self._end is not None and record.timestamp > self._end) and self._writer.write(record):
            self.done.records += 1
            self.done.topics[record.topic] = self.done.topics.get(record.topic, 0) + 1
            if record.topic == ASSESSMENTS.name:
                self._note_model(record.value)
        if record.offset + 1 >= self._left.get(place, 0):
            self._left.pop(place, None)

    def _note_model(self, body: bytes | None) -> None:
        try:
            risk = _assessed.decode(body or b"").risk
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if risk is not None and risk.model is not None:
            self._writer.models[risk.model] = risk.model_version or ""

    def _span(self, place: TopicPartition) -> tuple[int, int]:
        """Its first offset and its end. A partition that is new, or has just got another leader, is known to all in a moment."""
        deadline = monotonic() + ANSWER_S
        while True:
            try:
                return self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            except KafkaException as error:
                if error.args[0].code() not in LEADER_IS_SOUGHT or monotonic() > deadline:
                    raise
                sleep(AGAIN_S)

    def _by_time(self, places: list[TopicPartition]) -> Mapping[tuple[str, int], int]:
        if self._begin is None:
            return {}
        asked = [TopicPartition(place.topic, place.partition, self._begin) for place in places]
        found = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
        ends = {}
        for place in found:
            after_all = place.offset < 0
            offset = self._span(place)[1] if after_all else place.offset
            ends[place.topic, place.partition] = offset
        return ends


def _logged(message: Message, prefix: str) -> LoggedRecord:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return LoggedRecord(
        str(message.topic()).removeprefix(prefix),
        int(message.partition() or 0),
        int(message.offset() or 0),
        int(message.timestamp()[1]),
        message.key() or b"",
        message.value(),
        {name: (value or b"").decode("utf-8", "replace") for name, value in headers},
    )


@contextmanager
def _consumer(kafka: Kafka) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            **client_config(kafka),
            "group.id": "readfirst-recorder",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 4 << 20,
            "queued.max.messages.kbytes": 64 << 10,
            "log_level": 2,
        }
    )
    try:
        yield consumer
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
    finally:
        consumer.close()
