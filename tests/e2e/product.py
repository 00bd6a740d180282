"""The running product as a user has it: its commands, and what its processes and topics tell of themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from confluent_kafka import Consumer, Message, TopicPartition

from pipeline.adapters.local.stack import settings_of, status
from pipeline.domain.stages import Stage
from pipeline.settings import Kafka
from schemas.topics import TOPICS, Topic


class Product:
    """The `readfirst` command on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *arguments: str, timeout_s: float = 900, folder: str = "--data") -> subprocess.CompletedProcess[str]:
        """Runs a command to its end. folder: the option by which it is told the data folder."""
        command = [sys.executable, "-m", "pipeline.cli", *arguments, folder, str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def lines(self, *arguments: str, timeout_s: float = 900, folder: str = "--data") -> list[dict[str, Any]]:
        """The JSON objects that a command prints; it must succeed."""
        result = self.run(*arguments, timeout_s=timeout_s, folder=folder)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

    def accepts(self, folder: Path, *messages: bytes) -> None:
        """`send`, one by one; a gateway takes each. folder: for the files."""
        for number, message in enumerate(messages):
            (folder / f"{number}.message").write_bytes(message)
            *_, totals = self.lines("send", str(folder / f"{number}.message"), "--json")
            assert totals["accepted"] == totals["total"] == 1

    def waiting(self, *stages: Stage) -> int:
        """Records that these stages, or all of them, have not taken yet."""
        told: list[dict[str, Any]] = json.loads(self.run("lag", "--json").stdout)["stages"]
        return sum(one["records"] for one in told if not stages or one["name"] in {stage.name for stage in stages})

    @property
    def address(self) -> str:
        """Of the page and its API."""
        return f"http://127.0.0.1:{settings_of(self.data).web.port}"

    def study(self, uid: str) -> dict[str, Any]:
        """Everything that the page knows of a study."""
        return self._asked(f"/api/worklist/{quote(uid)}")

    def readings(self, uid: str) -> dict[str, Any]:
        """What single readings did to its risk. Asked again while the page is at other readings, or at the film."""
        while True:
            try:
                return self._asked(f"/api/worklist/{quote(uid)}/readings", timeout_s=60)
            except HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(0.5)

    def studies(self) -> list[dict[str, Any]]:
        """The same of the first 200 of the list."""
        return [self.study(item["study_uid"]) for item in self._asked("/api/worklist?limit=200")["items"]]

    def _asked(self, path: str, timeout_s: float = 10) -> dict[str, Any]:
        with urllib.request.urlopen(self.address + path, timeout=timeout_s) as answer:
            told: dict[str, Any] = json.loads(answer.read())
        return told


def restarted(data: Path) -> dict[str, str]:
    """Of each part that ended and came again, what its log says of the end, in full."""
    ended = [part for part in status(data).parts if part.restarts]
    logs = {part.name: Path(part.log).read_text(errors="replace") for part in ended}
    return {
        name: text[text.rfind("stage_failed_worker_stops") :][:6000] if "stage_failed" in text else text[-3000:]
        for name, text in logs.items()
    }


def memory(data: Path) -> dict[str, int]:
    """The most resident bytes that each gateway and agent has ever had (VmHWM, proc(5))."""
    parts = [part for part in status(data).parts if part.name.startswith(("gateway-", "agent-")) and part.identity]
    assert {part.name.partition("-")[0] for part in parts} == {"gateway", "agent"}
    told = {part.name: Path(f"/proc/{part.identity.pid}/status").read_text() for part in parts}
    return {name: int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) << 10 for name, text in told.items()}


def metrics(data: Path) -> list[str]:
    """What every role serves of itself."""
    targets = json.loads((data / "run" / "prometheus.json").read_text())
    addresses = [address for target in targets for address in target["targets"]]
    texts = []
    for address in addresses:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
            texts.append(answer.read().decode())
    return texts


def every_record(kafka: Kafka) -> Iterator[str]:
    """Key, headers and value of all records of all topics, as text."""
    for message in messages(kafka, TOPICS):
        yield f"{message.key()!r} {message.headers()!r} {(message.value() or b'').decode()}"


def values(kafka: Kafka, topic: Topic) -> list[bytes]:
    """Of all records of one topic."""
    return [value for message in messages(kafka, [topic]) if (value := message.value()) is not None]


def messages(kafka: Kafka, topics: Sequence[Topic]) -> Iterator[Message]:
    """All that is there."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "every-record"})
    places = [TopicPartition(kafka.topic_prefix + topic.name, number) for topic in topics for number in range(kafka.partitions)]
    spans = {(place.topic, place.partition): consumer.get_watermark_offsets(place) for place in places}
    ends = {where: end for where, (begin, end) in spans.items() if begin < end}
    consumer.assign([TopicPartition(*where, spans[where][0]) for where in ends])
    while ends:
        message = consumer.poll(60)
        assert message is not None and message.error() is None
        where = message.topic(), message.partition()
        if message.offset() + 1 >= ends.get(where, 0):
            ends.pop(where, None)
        yield message
    consumer.close()
