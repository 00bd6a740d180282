"""Kill -9, hang or add any process in the middle of a stream: nothing is lost, nothing counts twice, and the list is right in the end."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from pipeline.adapters.local.state import State
from pipeline.adapters.local.table import ROLES
from pipeline.simulation.messages import Outgoing
from tests.integration import faults
from tests.integration.faults import Product, Scenario, until

pytestmark = pytest.mark.timeout(1200)
SESSION_TIMEOUT_S = 6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """One product for the whole file; each test breaks it and finds it mended by itself."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("READFIRST_GATEWAYS__QUIET_STUDY_S", "3")  # the list learns of a study's last images when it is quiet
        with faults.product(tmp_path_factory.mktemp("faults")) as product:
            yield product


async def test_killed_agents(running: Product) -> None:
    """kill -9 of each agent, one after the other in mid-stream."""
    scenario = Scenario(running, seed=1)
    async with scenario.feeding():
        await asyncio.sleep(scenario.seconds * 0.25)
        for part in [role for role in ROLES if role.startswith("agent-")]:
            async with running.killed(part):
                await asyncio.sleep(scenario.seconds * 0.1)
    await scenario.check()


async def test_killed_gateways(running: Product) -> None:
    """kill -9 of the HL7 and HTTP gateways while they take messages, and of the DICOM gateway in the middle of a large object."""
    scenario = Scenario(running, seed=2)
    large, posts = _large(scenario), _observations(scenario, 60)
    port = running.settings.gateways.dicom_port
    async with faults.narrow(port, 4 << 20) as (slow_port, half_sent), scenario.feeding(), asyncio.TaskGroup() as also:
        also.create_task(scenario.send(posts, scenario.seconds))
        await asyncio.sleep(scenario.seconds * 0.2)
        slow = running.settings.gateways.model_copy(update={"dicom_port": slow_port})
        also.create_task(scenario.send([large], 1.0, slow))
        await asyncio.wait_for(half_sent.wait(), 60)
        async with running.killed("gateway-dicom"), running.killed("gateway-hl7"), running.killed("gateway-http"):
            pass
    scenario.messages.append(large)
    await scenario.check()
    assert scenario.retried > 0
    stored = list((running.data / "objects").glob(f"{_study(large)}/*/{large.dicom.SOPInstanceUID}.dcm"))  # type: ignore[union-attr]
    assert [path.stat().st_size > len(large.dicom.PixelData) for path in stored] == [True]  # type: ignore[union-attr]


async def test_hanging_and_killed_triton(running: Product) -> None:
    """Triton hangs, then dies: the list goes on, marked degraded, and all of it is scored again when Triton is back."""
    if running.part("triton").state is State.ABSENT:
        pytest.skip("no Triton for this machine")
    scenario = Scenario(running, seed=3)
    degraded = 0
    async with scenario.feeding():
        await asyncio.sleep(scenario.seconds * 0.2)
        running.signal("triton", signal.SIGSTOP)
        for _ in range(20):
            await asyncio.sleep(scenario.seconds * 0.02)
            if degraded := await faults.degraded_now(running.settings, scenario.began):
                break  # what hangs for half a minute is ended by the supervisor
        async with running.killed("triton"):
            await asyncio.sleep(0)
    await scenario.check()
    assert degraded > 0, "nobody was told that the model was away"


async def test_killed_postgres(running: Product) -> None:
    """kill -9 of Postgres: gateways wait or answer 'try again', agents stop and come back, and every batch has its effect once."""
    scenario = Scenario(running, seed=4)
    async with scenario.feeding():
        await asyncio.sleep(scenario.seconds * 0.3)
        async with running.killed("postgres"):
            pass
    await scenario.check()
    await running.healthy()


async def test_killed_kafka(running: Product) -> None:
    """kill -9 of Kafka, again as soon as it is back: producers, consumers and admin clients recover, or are started again.

    Before the first it hangs: no gateway and no agent calls itself ready then, and all of them say that they live.
    """
    scenario, asked = Scenario(running, seed=5), [role for role in ROLES if role != "web"]

    def ready(role: str) -> bool:
        return running.asked(role, "/readyz") == "ok"

    async with scenario.feeding():
        await asyncio.sleep(scenario.seconds * 0.3)
        running.signal("kafka", signal.SIGSTOP)
        await asyncio.gather(*(until(lambda role=role: not ready(role), f"{role} not ready") for role in asked))
        assert {running.asked(role, "/livez") for role in asked} == {"ok"}
        async with running.killed("kafka"):
            pass
        async with running.killed("kafka"):
            pass
    await scenario.check()
    assert scenario.retried > 0
    await running.healthy()
    await asyncio.gather(*(until(partial(ready, role), f"{role} ready again") for role in asked))


async def test_a_second_worker_comes_and_goes(running: Product) -> None:
    """A second context worker joins and leaves by SIGTERM; a third joins and is killed; partitions of one number stay together."""
    scenario = Scenario(running, seed=6, seconds=30.0)
    async with scenario.feeding():
        await asyncio.sleep(1)
        with running.another_worker("agent-context", "second") as second:
            await running.joined("second")
            await asyncio.sleep(2)
            second.signal(signal.SIGTERM)
            await until(lambda: second.exit_code() is not None, "second has left")
            assert second.exit_code() == 0
        with running.another_worker("agent-context", "third") as third:
            await running.joined("third")
            await asyncio.sleep(2)
            third.signal(signal.SIGKILL)
            await until(lambda: third.exit_code() is not None, "third is dead")
    await scenario.check()


async def test_a_frozen_worker_is_fenced(running: Product) -> None:
    """A worker that stands still for longer than its session loses its partitions; awake again, it doubles nothing."""
    scenario = Scenario(running, seed=7, seconds=30.0)
    with running.another_worker("agent-context", "zombie") as zombie:
        async with scenario.feeding():
            await running.joined("zombie")
            await asyncio.sleep(2)
            zombie.signal(signal.SIGSTOP)
            await asyncio.sleep(2 * SESSION_TIMEOUT_S)
            zombie.signal(signal.SIGCONT)
            await asyncio.sleep(1)
        await scenario.check()


def _large(scenario: Scenario) -> Outgoing:
    """Another image of a study that has some: 24 MB."""
    images = [message for message in scenario.messages if message.dicom is not None and message.dicom.Modality == "DX"]
    first = next(m for m in images if _study(m) in scenario.expected())
    assert first.dicom is not None
    dataset = deepcopy(first.dicom)
    dataset.SOPInstanceUID = f"{dataset.StudyInstanceUID}.1.900"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.InstanceNumber, dataset.Rows, dataset.Columns = 900, 4000, 3000
    dataset.PixelData = bytes(4000 * 3000 * 2)
    return Outgoing(timedelta(), "modality", dicom=dataset)


def _study(message: Outgoing) -> str:
    assert message.dicom is not None
    return str(message.dicom.StudyInstanceUID)


def _observations(scenario: Scenario, count: int) -> list[Outgoing]:
    """Heart rates of one more patient, as FHIR Observations spread over the scenario."""
    return [Outgoing(scenario.length * (n / count), "fhir-file", fhir=json.dumps(_heart_rate(scenario, n)).encode()) for n in range(count)]


def _heart_rate(scenario: Scenario, n: int) -> dict[str, Any]:
    at = scenario.began - timedelta(minutes=60 - n)
    return {
        "resourceType": "Observation",
        "id": f"hr{scenario.run}-{n}",
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"identifier": {"type": {"coding": [{"code": "MR"}]}, "system": "SIMHOSP", "value": f"F{scenario.run}"}},
        "effectiveDateTime": at.isoformat(),
        "valueQuantity": {"value": 70 + n, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    }
