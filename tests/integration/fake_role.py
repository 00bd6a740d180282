"""A role that only beats: `python fake_role.py NAME`. Steps end at once; a role named `hangs` stops beating, `broken` fails at once."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

from pipeline.adapters.local.heartbeat import Heartbeat
from pipeline.settings import Settings


async def _beat(name: str) -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    Heartbeat(name).start()
    if name == "hangs":
        await asyncio.sleep(1)
        time.sleep(3600)  # noqa: ASYNC251 - to block the loop is what it is for
    print("settings", Settings().model_dump_json(include={"kafka", "triton", "web"}))
    await done.wait()
    print("ended cleanly")


def main(name: str) -> None:
    if name == "broken":
        sys.exit("the disk is on fire")
    if name not in {"migrate", "topics"}:
        asyncio.run(_beat(name))


main(sys.argv[1])
