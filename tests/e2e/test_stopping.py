"""The web application as a process: it stops when it is told to, streams or not."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx

PROGRAM = """
import asyncio
from pipeline.worklist.app import create_app
from pipeline.worklist.server import server
from tests.e2e.department import Department
from tests.e2e.live_server import SteeredClock

async def main():
    department = Department.busy(SteeredClock(), 5)
    app = create_app(department.worklist, department.worklist, department.vault, department.clock, time_zone="Europe/Berlin")
    running = server(app, "127.0.0.1", 0)
    serving = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    print(running.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving

asyncio.run(main())
"""


def test_sigterm_ends_the_process_with_streams_open() -> None:
    """It does not wait for those who listen: their streams end, and browsers come back by themselves."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}/api/events"
        with httpx.Client(timeout=60) as client, client.stream("GET", url) as one, client.stream("GET", url) as other:
            streams = one.iter_text(), other.iter_text()
            assert all("event: hello" in next(each) for each in streams)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    finally:
        process.kill()
        process.wait()
