"""Takes the picture of the operators' page for the README: a stage that has stopped, and a dead letter.

python -m tests.e2e.ops_picture infra/ops.png                                    # an invented pipeline
python -m tests.e2e.ops_picture infra/ops.png --url http://127.0.0.1:8080        # a running one
"""

from __future__ import annotations

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from playwright.sync_api import sync_playwright

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog, partition_of
from pipeline.adapters.memory.operations import MemoryEnds, MemoryLetters, MemorySettledLetters, MemoryStanding
from pipeline.ports import Place, Received, Record
from pipeline.ports.operations import Crowd, ListFigures
from pipeline.services.dead_letters import dead_letter
from pipeline.services.letters import LetterDesk
from pipeline.services.monitor import Monitor
from pipeline.worklist.operations import OperationsApi
from schemas.topics import LABS
from tests.e2e.chromium import launch
from tests.e2e.department import Department
from tests.e2e.live_server import LiveServer, SteeredClock

PARTITIONS = 8
RATES = {"LIS|MAIN": 40, "RIS|MAIN": 25, "MON01|ICU": 120, "ADT|MAIN": 15}
"""Messages an hour of each source; the first has been silent for an hour."""


async def stopped(clock: SteeredClock) -> OperationsApi:
    """Context has stood still on one partition for a minute and a half; `clock` is where that ends."""
    log, settled = MemoryEventLog(PARTITIONS), MemorySettledLetters()
    ends, now = MemoryEnds(log), clock.now()
    looking = ManualClock(now)  # how long the looks really take is none of that time
    standing = MemoryStanding(looking, studies={f"p{n}": 1 for n in range(320)})
    standing.numbers = ListFigures([Crowd("E", "stat", 41, 2), Crowd("I", "routine", 279, 5)], provisional=4)
    standing.messages = [
        (source, now - timedelta(hours=hours) - timedelta(hours=1) * n / rate)
        for source, rate in RATES.items()
        for hours in range(1 if source.startswith("LIS") else 0, 60)
        for n in range(rate)
    ]
    monitor = Monitor(
        standing, ends, settled, looking, lambda patient: partition_of(patient.encode(), PARTITIONS),
        partitions=PARTITIONS, zone=ZoneInfo("Europe/Berlin"), letters_limit=1000,
    )  # fmt: skip
    bad = Received(LABS, 2, 4711, b"p7", b"{}", {"redrives": "1"})
    await log.append(
        [dead_letter(bad, "unsupported-major", "observation/2 is not readable by this version, which knows observation/1", now)]
    )
    for _ in range(200):
        await monitor.look()
    stuck = partition_of(b"p3", PARTITIONS)
    await log.append([Record(LABS, b"p3", b"{}")] * 214)
    ends.stamp(LABS, stuck, 0, now)
    standing.offsets["readfirst-context", Place("labs", stuck)] = -1
    for _ in range(48):
        looking.advance(timedelta(seconds=2))
        await monitor.look()
    clock.push(looking.now() - clock.now())
    return OperationsApi(monitor, LetterDesk(MemoryLetters(log), settled, log, clock), clock)


def stopped_room(clock: SteeredClock) -> OperationsApi:
    """As `stopped`, from where a loop runs already."""
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(lambda: asyncio.run(stopped(clock))).result()


def picture(url: str, output: Path, size: tuple[int, int]) -> None:
    """Opens the page and writes a PNG."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
        page.goto(f"{url}/ops")
        page.locator("#line li").first.wait_for()
        page.locator("#letters .acts, #letters .calm[role=status]").first.wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=output)
        browser.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--size", default="1280x640")
    given = parser.parse_args()
    width, height = (int(part) for part in given.size.split("x"))
    if given.url:
        picture(given.url, given.output, (width, height))
        return
    clock = SteeredClock()
    with LiveServer(Department.busy(clock, 5), stopped_room(clock)).running() as server:
        picture(server.url, given.output, (width, height))


if __name__ == "__main__":
    main()
