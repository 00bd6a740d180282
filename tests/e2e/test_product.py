"""The product by its own commands, as a new user runs them: up, demo, send, worklist, explain, status, doctor, dlq, down."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.adapters.local.stack import settings_of, status
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.ports import ListQuery, Page
from pipeline.replay.digest import state_digest
from pipeline.settings import Kafka
from pipeline.simulation.courses import FAMILIES, GIVEN
from schemas.topics import TOPICS
from schemas.worklist import WorklistItem

MEMORY_MAX = 512 << 20


class Product:
    """The `readfirst` command on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        command = [sys.executable, "-m", "pipeline.cli", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def lines(self, *arguments: str, timeout_s: float = 300) -> list[dict[str, Any]]:
        """The JSON objects that a command prints; it must succeed."""
        result = self.run(*arguments, timeout_s=timeout_s)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A stack that runs for this file."""
    product = Product(tmp_path_factory.mktemp("product"))
    started = product.run("up", "--detach", timeout_s=900)
    assert started.returncode == 0, started.stderr[-3000:]
    yield product
    stopped = product.run("down")
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="module")
def fed(product: Product) -> dict[str, Any]:
    """The stack after one bounded demo, and the demo's summary."""
    (summary,) = product.lines("demo", "--once", "--json")
    return summary


def balanced(summary: dict[str, Any]) -> bool:
    """Every message sent is in exactly one of the columns."""
    columns = [summary["applied"], *(sum(summary[name].values()) for name in ("ignored", "refused", "dead_lettered"))]
    return sum(summary["sent"].values()) == sum(columns) and summary["unaccounted"] == 0


@pytest.mark.timeout(600)
def test_the_demo_accounts_for_every_message(fed: dict[str, Any]) -> None:
    """About 2,000 messages and 60 studies; each message has an outcome, each open study a rank and the model's score."""
    assert balanced(fed), fed
    assert 1_800 <= sum(fed["sent"].values()) <= 2_200
    assert fed["ignored"]["duplicate"] > 0
    assert 40 <= fed["ranked"] == fed["model_scored"] <= fed["studies"]
    assert fed["degraded"] is False
    assert set(fed["latency_ms"]) == {"p50", "p95", "p99"}


@pytest.mark.timeout(600)
def test_the_real_data_is_accounted_for(product: Product, shared_data: Path) -> None:
    """Composite patients and every sample file, good and bad, over the real protocols."""
    (summary,) = product.lines("demo", "--once", "--json", "--source", str(shared_data))

    assert balanced(summary), summary
    assert {"hl7-file", "fhir-file", "dicom-file", "modality"} <= set(summary["sent"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("folder", ["dicom-dev", "hl7v2-dev", "fhir-dev"])
def test_every_sample_file_ends_as_accepted_refused_or_ignored(product: Product, shared_data: Path, folder: str) -> None:
    """`send` says what became of each, the totals add up, and no process of ours grows beyond 512 MB."""
    files = [path for path in (shared_data / folder).rglob("*") if path.is_file()]
    *lines, totals = product.lines("send", str(shared_data / folder), "--json")
    counted = Counter(line["outcome"] for line in lines)

    assert {line["path"] for line in lines} == {str(path) for path in files}
    assert all(line["reason"] for line in lines if line["outcome"] != "accepted")
    assert totals == {"total": len(lines), "unanswered": 0} | {name: counted[name] for name in ("accepted", "refused", "ignored")}
    assert counted["refused"] < len(lines)  # those that came before are ignored as duplicates
    assert {name: size for name, size in gateway_memory(product.data).items() if size > MEMORY_MAX} == {}


def gateway_memory(data: Path) -> dict[str, int]:
    """Resident bytes of each gateway."""
    parts = [part for part in status(data).parts if part.name.startswith("gateway") and part.identity]
    return {part.name: psutil.Process(part.identity.pid).memory_info().rss for part in parts}


@pytest.mark.usefixtures("fed")
def test_the_list_and_its_reasons_by_command(product: Product) -> None:
    """`worklist --json` is ordered by deadline; `explain` tells the minutes of each reason."""
    listed = product.lines("worklist", "--json", "--limit", "20")
    (told,) = product.lines("explain", listed[0]["study_uid"], "--json")

    assert len(listed) == 20
    assert [line["due_at"] for line in listed] == sorted(line["due_at"] for line in listed)
    assert told["due_at"] <= told["target_at"]
    assert [reason["binding"] for reason in told["reasons"] if "binding" in reason] == [True]
    assert all(reason["evidence"]["label"] and "minutes" in reason for reason in told["reasons"])
    assert told["history"]


@pytest.mark.usefixtures("fed")
def test_the_ledger_fills(product: Product) -> None:
    """The reported studies of the day, and nothing but JSON on standard output."""
    (told,) = product.lines("ledger", "--json")

    assert sum(day["read"] for day in told["days"]) > 0


def test_an_unknown_study_is_an_error_with_words(product: Product) -> None:
    """No traceback, exit code 1."""
    result = product.run("explain", "1.2.3")

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "study" in result.stderr


@pytest.mark.usefixtures("fed")
def test_no_direct_identifier_is_in_any_topic_or_log(product: Product) -> None:
    """Names, record, order and accession numbers of the demo's patients stay in the vault."""
    settings = settings_of(product.data)
    records = list(every_record(settings.kafka))
    run = next(match[1] for text in records if (match := re.search(r"RIS(\d{6})\|", text)))
    names = [*FAMILIES, *(name for names in GIVEN.values() for name in names)]
    identifiers = re.compile("|".join([*map(re.escape, names), rf"[AP]?{run}\d{{5}}"]))
    logs = {path.name: path.read_text(errors="replace") for path in (product.data / "log").iterdir()}

    assert len(records) > 2_000
    assert [found for text in records for found in identifiers.findall(text)] == []
    assert {name: found for name, text in logs.items() for found in identifiers.findall(text)} == {}


def every_record(kafka: Kafka) -> Iterator[str]:
    """Key, headers and value of all records of all topics, as text."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "every-record"})
    for topic in TOPICS:
        for number in range(kafka.partitions):
            place = TopicPartition(kafka.topic_prefix + topic.name, number)
            position, end = consumer.get_watermark_offsets(place)
            consumer.assign([TopicPartition(place.topic, number, position)])
            while position < end:
                message = consumer.poll(10)
                assert message is not None and message.error() is None
                position = message.offset() + 1
                yield f"{message.key()!r} {message.headers()!r} {(message.value() or b'').decode()}"
    consumer.close()


def test_status_and_doctor_are_content(product: Product) -> None:
    """A healthy stack exits with 0."""
    assert product.run("status", "--json").returncode == 0
    assert product.run("doctor", "--json").returncode == 0


def test_there_are_no_dead_letters(product: Product) -> None:
    """What the gateways let through, the stages understand."""
    result = product.run("dlq", "list", "--json")

    assert (result.returncode, result.stdout.strip()) == (0, "")


async def _listed(data: Path) -> list[WorklistItem]:
    """The open list, as Postgres holds it."""
    items: list[WorklistItem] = []
    async with Database.from_settings(settings_of(data).postgres) as database:
        worklist, page = PostgresWorklist(database), Page([], "")
        while page.next is not None:
            page = await worklist.page(ListQuery(limit=500, after=page.next or None))
            items += [listed.item for listed in page.items]
        await worklist.close()
    return items


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("fed")
def test_a_recorded_log_replays_to_what_postgres_holds(product: Product, tmp_path: Path) -> None:
    """By the rules from the input topics alone, and with the recorded scores the whole list; the same digest each time."""
    log = tmp_path / "day.rfl"
    (recorded,) = product.lines("record", "--out", str(log), "--json")
    with ThreadPoolExecutor(1) as beside:  # the browser's own loop runs in this thread
        items = beside.submit(asyncio.run, _listed(product.data)).result()
    replayed = {scorer: [replay(log, scorer) for _ in range(2)] for scorer in ("rules", "recorded", "model")}

    assert recorded["records"] > 3_000 and recorded["bytes"] <= 0.25 * recorded["json_bytes"]
    assert [one["open"] for runs in replayed.values() for one in runs] == [len(items)] * 6
    assert all(first["digest"] == second["digest"] for first, second in replayed.values())
    assert {runs[0]["rules_digest"] for runs in replayed.values()} == {state_digest(items, risk=False)}
    assert replayed["recorded"][0]["state_digest"] == state_digest(items)


def replay(log: Path, scorer: str) -> dict[str, Any]:
    """`readfirst replay --json`, its last line."""
    command = [sys.executable, "-m", "pipeline.cli", "replay", str(log), "--scorer", scorer, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
