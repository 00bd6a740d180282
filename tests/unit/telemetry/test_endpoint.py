"""A role's own endpoint: what /livez and /readyz say is true, and a stuck event loop is told apart from a dead process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from pipeline.adapters.local import heartbeat
from pipeline.adapters.local.heartbeat import Heartbeat
from pipeline.adapters.telemetry.endpoint import Endpoint
from pipeline.adapters.telemetry.metrics import Metrics
from pipeline.errors import Unavailable
from pipeline.settings import Telemetry


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint("web", Telemetry(port=0), Metrics())
    yield endpoint
    endpoint.close()


async def get(endpoint: Endpoint, path: str) -> tuple[int, str]:
    """Status and body."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{endpoint.port}{path}", headers={"accept": "application/openmetrics-text"})
    return answer.status_code, answer.text


async def test_before_it_is_ready_it_lives_and_takes_no_work(endpoint: Endpoint) -> None:
    """A slow start is no reason to kill it."""
    assert (await get(endpoint, "/livez"))[0] == 200
    assert await get(endpoint, "/readyz") == (503, "not ready for work\n")


async def test_ready_means_that_what_it_needs_answers(endpoint: Endpoint) -> None:
    """And not, that it does not."""
    away = False

    async def check() -> None:
        if away:
            raise Unavailable("Postgres: away")

    beat = Heartbeat("web")
    beat.once()
    endpoint.ready(beat, asyncio.get_running_loop(), check)
    assert await get(endpoint, "/readyz") == (200, "ok\n")

    away = True
    assert await get(endpoint, "/readyz") == (503, "Postgres: away\n")
    assert (await get(endpoint, "/livez"))[0] == 200


async def test_a_loop_that_does_not_turn_is_not_alive(endpoint: Endpoint) -> None:
    """The thread answers for it."""
    beat = Heartbeat("web")
    beat.once()
    endpoint.ready(beat, asyncio.get_running_loop())
    beat.last = time.monotonic() - heartbeat.STALE_AFTER_S - 5

    assert await get(endpoint, "/livez") == (503, "the event loop has not turned for 15 s\n")
    assert (await get(endpoint, "/readyz"))[0] == 503
    assert (await get(endpoint, "/metrics"))[0] == 200, "figures are there all the same"


async def test_metrics_are_openmetrics(endpoint: Endpoint) -> None:
    """With the end mark that tells a whole answer from a cut one."""
    status, body = await get(endpoint, "/metrics")

    assert status == 200
    assert 'readfirst_build_info{role="web",version=' in body
    assert body.endswith("# EOF\n")


async def test_there_is_nothing_else(endpoint: Endpoint) -> None:
    """An unknown address is a 404."""
    assert (await get(endpoint, "/"))[0] == 404


def test_without_a_port_nothing_is_served() -> None:
    """The default: a role started by hand takes no port."""
    assert Endpoint("web", Telemetry(), Metrics()).port is None
