"""A Chromium for the page's tests, a department under a real server, and a page that nothing may go wrong on unseen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.chromium import launch
from tests.e2e.department import Department
from tests.e2e.live_server import LiveServer, SteeredClock
from tests.e2e.reading import Read, Reading, Serve

WITHIN_MS = 60_000
"""How long a test waits for the page: a busy machine is no fault of the page's."""
expect.set_options(timeout=WITHIN_MS)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Skips where there is no Chromium; where CI=true that is a failure."""
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except LookupError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield browser
        browser.close()


@pytest.fixture
def clock() -> SteeredClock:
    """The server's."""
    return SteeredClock()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a page over a department; stopped after the test."""
    with ExitStack() as running:
        yield lambda department: running.enter_context(LiveServer(department).running())


@pytest.fixture
def server(serve: Serve, clock: SteeredClock) -> LiveServer:
    """A page over twenty studies; the first ones are pressing."""
    return serve(Department.busy(clock, 20))


@pytest.fixture
def read(browser: Browser, serve: Serve) -> Iterator[Read]:
    """Opens the page as a reader; closed before the servers stop. After the test: no script error, and nothing the CSP had to stop."""
    opened: list[Reading] = []

    def start(
        server: LiveServer, reader: str | None = "Dr Weber", *, path: str = "/", script: str = "", wait: bool = True, **options: object
    ) -> Reading:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})  # type: ignore[arg-type]
        context.set_default_timeout(WITHIN_MS)
        if reader:
            context.add_cookies([{"name": "readfirst_reader", "value": quote(reader), "url": server.url}])
        if script:
            context.add_init_script(script)
        reading = Reading(server, context.new_page())
        opened.append(reading)
        reading.open(path, wait=wait)
        return reading

    yield start
    faults = [fault for reading in opened for fault in reading.faults]
    for reading in opened:
        reading.page.context.close()
    assert faults == []
