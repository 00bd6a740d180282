"""A role's own endpoint: what /livez and /readyz say is true, and a stuck event loop is told apart from a dead process."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
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
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{endpoint.port}{path}", headers={"accept": "application/openmetrics-text"})
    return answer.status_code, answer.text


async def test_before_it_is_ready_it_lives_and_takes_no_work(endpoint: Endpoint) -> None:
    """A slow start is no reason to kill it."""
    assert (await get(endpoint, "/livez"))[0] == 200
    assert await get(endpoint, "/readyz") == (503, "not ready for work\n")


async def test_ready_means_that_what_it_needs_answers(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not, that it does not."""
    monkeypatch.setattr("pipeline.adapters.telemetry.endpoint.CHECKED_FOR_S", 0.0)
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


async def test_however_many_ask_what_it_needs_is_asked_once(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes, a load balancer and a person at once: one question to all stores together, and its answer holds for a while."""
    monkeypatch.setattr("pipeline.adapters.telemetry.endpoint.CHECKED_FOR_S", 3600.0)
    asked: list[str] = []
    together = asyncio.Barrier(2)

    async def check(store: str) -> None:
        asked.append(store)
        await together.wait()
        if store == "kafka":
            raise Unavailable("Kafka: away")

    beat = Heartbeat("gateway-hl7")
    beat.once()
    endpoint.ready(beat, asyncio.get_running_loop(), lambda: check("postgres"), lambda: check("kafka"))
    answers = await asyncio.gather(*(get(endpoint, "/readyz") for _ in range(5)))

    assert answers == [(503, "Kafka: away\n")] * 5
    assert asked == ["postgres", "kafka"]


async def test_a_loop_that_does_not_turn_is_not_alive(endpoint: Endpoint) -> None:
    """The thread answers for it."""
    beat = Heartbeat("web")
    beat.once()
    endpoint.ready(beat, asyncio.get_running_loop())
    beat.last = time.monotonic() - heartbeat.STALE_AFTER_S - 5

    status, said = await get(endpoint, "/livez")
    found = re.fullmatch(r"the event loop has not turned for (\d+) s\n", said)
    assert (status, found is not None and int(found[1]) >= heartbeat.STALE_AFTER_S + 5) == (503, True), said
    assert (await get(endpoint, "/readyz"))[0] == 503
    assert (await get(endpoint, "/metrics"))[0] == 200, "figures are there all the same"


async def test_a_stuck_process_answers_at_once_and_never_hangs(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop is held up for good: figures come as ever, and readiness says what is wrong in the time that a check may take."""
    monkeypatch.setattr("pipeline.adapters.telemetry.endpoint.CHECK_S", 0.0)
    stuck, loop, beat = threading.Event(), asyncio.new_event_loop(), Heartbeat("web")
    beat.once()
    turning = threading.Thread(target=loop.run_forever)
    turning.start()
    loop.call_soon_threadsafe(stuck.wait)

    async def check() -> None:
        """Would answer, if the loop came to it."""

    endpoint.ready(beat, loop, check)
    try:
        assert (await get(endpoint, "/metrics"))[0] == 200
        assert await get(endpoint, "/readyz") == (503, "what the role needs did not answer in time\n")
    finally:
        stuck.set()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        turning.join()
        loop.close()


async def test_somebody_who_asks_and_says_nothing_holds_up_nobody(endpoint: Endpoint) -> None:
    """A connection without a request, as a port scanner makes it."""
    assert endpoint.port is not None
    with socket.create_connection(("127.0.0.1", endpoint.port)):
        assert (await get(endpoint, "/metrics"))[0] == 200


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
    """The default: a role started by hand takes no port, and keeps no histograms that nobody could read."""
    metrics = Metrics()
    assert Endpoint("web", Telemetry(), metrics).port is None
    metrics.observe("readfirst_batch_seconds", 1.0, {"stage": "context"})
    assert metrics.registry.get_sample_value("readfirst_batch_seconds_count", {"stage": "context"}) is None
