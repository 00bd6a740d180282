"""Log lines of a message are found by its trace, from the gateway to the rank."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from faust.types import TP

from pipeline.adapters.faust import batches
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.telemetry.logging import configure, of_records
from pipeline.adapters.telemetry.tracing import TRACES_MAX
from pipeline.ports import Batch
from pipeline.services import intake
from pipeline.services.batch import Done
from schemas.topics import LABS
from tests.unit.hl7.messages import PID, arrival, message


@pytest.fixture(autouse=True)
def as_json(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a role with READFIRST_LOG_FORMAT=json; afterwards as it was. A logger that was used before may have kept another configuration."""
    before, configured = structlog.get_config(), structlog.is_configured()
    configure("json", "info")
    structlog.configure(cache_logger_on_first_use=False)
    for module in (intake, batches):
        monkeypatch.setattr(module, "log", structlog.get_logger())
    yield
    structlog.configure(**before) if configured else structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str], action: str) -> list[dict[str, Any]]:
    """What was logged of one kind."""
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in written if line["event"] == action]


async def test_a_gateways_line_and_a_stages_lines_name_the_same_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """What the gateway wrote of a message, and the header by which the stages know it; nothing of the message itself."""
    clock, log = ManualClock(), MemoryEventLog()
    gateway = intake.Intake(log, MemoryReceipts(), MemoryVault(clock), clock)
    sent = arrival(message("ORU^R01", PID, "OBX|1|NM|2345-7^Glucose^LN||5.5|mmol/L|||||F"))
    await gateway.accept(sent)
    await gateway.accept(sent)
    told = [(line["outcome"], line["reason"], line["traces"]) for line in lines(capsys, "message_answered")]
    (record,) = log.records(LABS)
    await worker(record.headers)
    (handled,) = lines(capsys, "batch_handled")

    assert told == [("accepted", "", [sent.origin.trace_id]), ("ignored", "duplicate", [sent.origin.trace_id])]
    assert (handled["stage"], handled["records"], handled["traces"]) == ("context", 1, [sent.origin.trace_id])


async def worker(headers: dict[str, str]) -> None:
    """The loop of an agent over one record, to the end of its stream."""
    record = SimpleNamespace(
        partition=0, offset=0, key=b"p", value=b"{}", headers=[(name, text.encode()) for name, text in headers.items()]
    )
    event = SimpleNamespace(message=SimpleNamespace(tp=TP("labs", 0)), value=[record], ack=lambda: None)
    app: Any = SimpleNamespace(conf=SimpleNamespace(id="readfirst-context"), consumer_generation_id=1)

    async def events() -> AsyncIterator[Any]:
        yield event

    class Stage:
        async def handle(self, batches: Sequence[Batch]) -> list[Done]:
            return [Done(len(each.records)) for each in batches]

    await batches.run(app, SimpleNamespace(noack=lambda: SimpleNamespace(events=events)), Stage(), MemoryOffsets(), "")


def test_a_large_batch_names_the_same_traces_in_every_role(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the lowest ids, in whatever order they come, each once, foreign records without one left out; lines after it name none."""
    log = structlog.get_logger()
    with of_records([{}, {"trace_id": "t100"}, *({"trace_id": f"t{n}"} for n in reversed(range(100, 200)))]):
        log.info("inside")
    log.info("inside")
    inside, after = lines(capsys, "inside")

    assert inside["traces"] == [f"t{n}" for n in range(100, 100 + TRACES_MAX)]
    assert "traces" not in after
