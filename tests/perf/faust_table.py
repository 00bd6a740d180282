"""The same job as Faust's documentation shows it: a window per patient in a Table on RocksDB. `BOOTSTRAP TOPIC GROUP EVENTS FOLDER`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

import faust
import uvloop

from pipeline.benchmarks import window_bytes
from pipeline.domain.window import Window
from schemas import codec
from tests.perf.stopwatch import Stopwatch

PARTITIONS = 8


def build(bootstrap: str, topic: str, group: str, events: int, folder: str) -> faust.App:
    """An app that ends its process with the last event."""
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        store="rocksdb://?driver=rocksdict",
        datadir=folder,
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        topic_disable_leader=True,
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        worker_redirect_stdouts=False,
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        producer_linger=0.005,
        producer_max_batch_size=1 << 20,
    )
    source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    windows = app.Table("windows", key_type=bytes, value_type=bytes, partitions=PARTITIONS)
    watch = Stopwatch(events)

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def context(stream: Any) -> None:
        async for patient, body in stream.items():
            before = windows.get(patient)
            window = Window() if before is None else window_bytes.decode(before)
            if not window.apply(codec.decode_event(body)):
                os._exit(4)  # the load has no event that would need the history, which this build does not keep
            windows[patient] = window_bytes.encode(window)
            if watch.add(1):
                watch.report()
                os._exit(0)

    return app


if __name__ == "__main__":
    logging.disable(logging.INFO)  # aiokafka's debug messages would cost a tenth of the time
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    app = build(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
    sys.argv = sys.argv[:1]
    faust.Worker(app, loop=loop, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()
