"""The limit: aiokafka fetches, msgspec decodes, nothing else. `BOOTSTRAP TOPIC GROUP EVENTS FOLDER`."""

from __future__ import annotations

import sys

import uvloop
from aiokafka import AIOKafkaConsumer

from schemas import codec
from tests.perf.stopwatch import Stopwatch


async def main(bootstrap: str, topic: str, group: str, events: int) -> None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    watch, done = Stopwatch(events), False
    try:
        while not done:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    codec.decode_event(record.value)
                done = watch.add(len(records))
            await consumer.commit()
    finally:
        watch.report()
        await consumer.stop()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:4], int(sys.argv[4])))
