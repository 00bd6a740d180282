"""Where topics begin and end, and the time of single records, asked by a consumer that joins no group."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic, sleep

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from pipeline.adapters.kafka.connection import LEADER_IS_SOUGHT, client_config
from pipeline.errors import Unavailable
from pipeline.ports import Place
from pipeline.settings import Kafka
from schemas.topics import Topic

TIMEOUT_S = 4.0
READ_S = 1.5
AGAIN_S = 0.25
_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


class KafkaEnds:
    """LogEnds. Close it in the end. Its one thread does all the asking, so that a slow broker never holds up the caller's loop."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._admin = AdminClient({**client_config(kafka), "log_level": 2})
        self._consumer: Consumer | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-ends")

    async def close(self) -> None:
        """Leaves nothing behind."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def ends(self, topics: Sequence[Topic]) -> Mapping[Place, tuple[int, int]]:
        """As LogEnds.ends."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ends, topics)

    async def times(self, offsets: Mapping[Place, int]) -> Mapping[Place, datetime]:
        """As LogEnds.times."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._times, offsets)

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def _ends(self, topics: Sequence[Topic]) -> dict[Place, tuple[int, int]]:
        places = [Place(topic.name, number) for topic in topics for number in range(self._kafka.partitions)]
        deadline = monotonic() + TIMEOUT_S
        while True:
            try:
                begins, ends = (self._listed(places, spec) for spec in (_EARLIEST, _LATEST))
                return {place: (begins[place], ends[place]) for place in places}
            except KafkaException as error:
                # A partition that is new, or has just got another leader, is known to all in a moment.
                if error.args[0].code() not in LEADER_IS_SOUGHT or monotonic() > deadline:
                    raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
                sleep(AGAIN_S)

    def _listed(self, places: Sequence[Place], spec: OffsetSpec) -> dict[Place, int]:
        asked = {TopicPartition(self._kafka.topic_prefix + place.topic, place.partition): spec for place in places}
        answers = self._admin.list_offsets(asked, request_timeout=TIMEOUT_S)
        prefix = self._kafka.topic_prefix
        return {Place(tp.topic.removeprefix(prefix), tp.partition): future.result().offset for tp, future in answers.items()}

    def _times(self, offsets: Mapping[Place, int]) -> dict[Place, datetime]:
        prefix, found = self._kafka.topic_prefix, dict[Place, datetime]()
        try:
            consumer = self._open()
            asked = [TopicPartition(prefix + place.topic, place.partition, offset) for place, offset in offsets.items()]
            consumer.assign(asked)
            consumer.resume(asked)  # a pause outlives the assignment that it was made in
            deadline = monotonic() + READ_S
            while len(found) < len(offsets) and (left := deadline - monotonic()) > 0:
                message = consumer.poll(left)
                if message is None or message.error():
                    continue
                place = Place((message.topic() or "").removeprefix(prefix), message.partition() or 0)
                if (at := _time(message)) is not None:
                    found.setdefault(place, at)
                consumer.pause([TopicPartition(prefix + place.topic, place.partition)])
            consumer.unassign()
        except KafkaException as error:
            raise Unavailable(f"Kafka does not answer: {error.args[0]}") from error
        return found

    def _open(self) -> Consumer:
        """The broker sends at least one record batch, however small the limits; more is not wanted."""
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    **client_config(self._kafka),
                    "group.id": "readfirst-monitor",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "fetch.message.max.bytes": 1024,
                    "queued.min.messages": 1,
                    "queued.max.messages.kbytes": 64,
                    "log_level": 2,
                }
            )
        return self._consumer


def _time(message: Message) -> datetime | None:
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, UTC)
