"""A DICOM gateway in a process of its own, with stores that survive its death: `python -m tests.integration.dicom_gateway_process FOLDER`.

Prints the port; ends on SIGTERM. What it would have sent to Kafka is in FOLDER/log.jsonl, one line for each record, fsynced.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory.receipts import MemoryReceipts
from pipeline.adapters.memory.study_ledger import MemoryStudyLedger
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.gateways.dicom.reception import Needs
from pipeline.gateways.dicom.scp import serve
from pipeline.ports import Receipt, Record
from pipeline.services.intake import Intake
from pipeline.settings import Gateways, Settings


class FileLog:
    """EventLog in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def append(self, records: Sequence[Record]) -> None:
        """As EventLog.append."""
        with self._path.open("a") as file:
            for record in records:
                document = json.loads(record.value or b"null")
                file.write(json.dumps({"topic": record.topic.name, "headers": dict(record.headers), "document": document}) + "\n")
            file.flush()
            os.fsync(file.fileno())


class FileReceipts(MemoryReceipts):
    """Receipts that are there again after a restart."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        for line in path.read_text().splitlines() if path.exists() else ():
            state, *key = json.loads(line)
            if state == "pending":
                self.pending.add(tuple(key))
            else:
                self.pending.discard(tuple(key))
                self.closed[tuple(key)] = Receipt(*key, state, None, (), SystemClock().now())  # type: ignore[misc]

    async def open(self, source: str, kind: str, identity: str) -> tuple[str, Receipt | None]:
        """As Receipts.open."""
        answer = await super().open(source, kind, identity)
        self._write("pending", source, kind, identity)
        return answer

    async def close(self, receipt: Receipt) -> None:
        """As Receipts.close."""
        await super().close(receipt)
        self._write(receipt.outcome, receipt.source, receipt.kind, receipt.identity)

    def _write(self, *line: str) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


async def main(folder: Path) -> None:
    """Serves until SIGTERM."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    gateways = Gateways(
        dicom_port=0, dicom_associations_max=20, object_max_bytes=8 << 20, quiet_study_s=float(os.environ.get("QUIET_S", "30"))
    )
    settings = Settings(data=folder, gateways=gateways)
    clock = SystemClock()
    vault = MemoryVault(clock)
    intake = Intake(FileLog(folder / "log.jsonl"), FileReceipts(folder / "receipts.jsonl"), vault, clock)
    gateway = serve(settings, Needs(intake, LocalObjectStore(settings.objects_dir), vault, MemoryStudyLedger(), b"k" * 32, clock))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(gateway.port, flush=True)
    await ended.wait()
    await gateway.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
