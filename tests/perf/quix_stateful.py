# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["quixstreams==3.28.1", "msgspec", "numpy"]
# ///
"""The same job on Quix Streams' state (RocksDB). `BOOTSTRAP TOPIC GROUP EVENTS FOLDER`.

It runs in an environment of its own (`uv run --script`): Quix holds back confluent-kafka and pydantic, which must not bind the product.
"""

from __future__ import annotations

import os
import sys

from quixstreams import Application, State

from pipeline.benchmarks import window_bytes
from pipeline.domain.window import Window
from schemas import codec
from tests.perf.stopwatch import Stopwatch


def main(bootstrap: str, topic: str, group: str, events: int, folder: str) -> None:
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="WARNING",
        commit_interval=1.0,
    )
    watch = Stopwatch(events)

    def context(body: bytes, state: State) -> None:
        before = state.get_bytes("window")
        window = Window() if before is None else window_bytes.decode(before)
        if not window.apply(codec.decode_event(body)):
            os._exit(4)  # the load has no event that would need the history, which this build does not keep
        state.set_bytes("window", window_bytes.encode(window))
        if watch.add(1):
            watch.report()

    source = app.topic(topic, key_deserializer="bytes", value_deserializer="bytes")
    app.dataframe(source).update(context, stateful=True)
    app.run(count=events, timeout=60)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
