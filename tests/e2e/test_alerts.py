"""A stage stops under a real Prometheus and Alertmanager: the right alert comes within a minute, no other does, and it ends by itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.local.network import free_port
from pipeline.adapters.local.stack import settings_of, status
from pipeline.simulation.courses import FAMILIES, GIVEN
from tests.e2e.test_product import Product

INFRA = Path(__file__).resolve().parents[2] / "infra" / "prometheus"
FIRES_WITHIN_S = 60.0
RESOLVES_WITHIN_S = 90.0


class Receiver:
    """Gets what Alertmanager sends. told: (status, alert name, stage), in the order of coming."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.bodies: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                receiver.bodies.append(body)
                for alert in json.loads(body)["alerts"]:
                    receiver.told.append((alert["status"], alert["labels"]["alertname"], alert["labels"].get("stage", "")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def running(*command: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the time of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def programs() -> tuple[str, str]:
    """Prometheus and Alertmanager; skips without them, where CI=true that is a failure."""
    found = shutil.which("prometheus"), shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found[0] is None or found[1] is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Prometheus is missing: apt-get install prometheus prometheus-alertmanager")
        pytest.skip("Prometheus and Alertmanager are not installed (apt-get install prometheus prometheus-alertmanager)")
    return found[0], found[1]


def configured(folder: Path, receiver: Receiver, targets: Path, alertmanager: int) -> None:
    """The shipped configuration with this test's addresses."""
    shutil.copy(INFRA / "rules.yaml", folder)
    (folder / "targets").mkdir()
    (folder / "targets" / "local.json").symlink_to(targets)
    prometheus = (INFRA / "prometheus.yml").read_text().replace("127.0.0.1:9093", f"127.0.0.1:{alertmanager}")
    (folder / "prometheus.yml").write_text(prometheus)
    told = re.sub(
        r"http://127\.0\.0\.1:9095/", f"http://127.0.0.1:{receiver.server.server_port}/", (INFRA / "alertmanager.yml").read_text()
    )
    (folder / "alertmanager.yml").write_text(told)


def wait_for(what: Callable[[], Any], seconds: float, words: str) -> Any:
    """The first true answer. Fails with `words` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, LookupError):
            if answer := what():
                return answer
        time.sleep(0.5)
    pytest.fail(f"not within {seconds:.0f} s: {words}")


def ask(url: str) -> Any:
    """The JSON at a local address."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Product, Receiver, str]]:
    """A stack under a stream of events, Prometheus and Alertmanager over it; yields with all of them warm, and Prometheus's address."""
    prometheus, alertmanager = programs()
    receiver, product = Receiver(), Product(tmp_path / "data")
    started = product.run("up", "--detach", timeout_s=600)
    assert started.returncode == 0, started.stderr[-3000:]
    web, manager = free_port(), free_port()
    configured(tmp_path, receiver, tmp_path / "data" / "run" / "prometheus.json", manager)
    with ExitStack() as parts:
        parts.callback(product.run, "down")
        demo = [sys.executable, "-m", "pipeline.cli", "demo", "--data", product.data]
        parts.enter_context(running(*demo, log=tmp_path / "demo.log"))
        address = f"127.0.0.1:{manager}"
        parts.enter_context(
            running(
                alertmanager, f"--config.file={tmp_path / 'alertmanager.yml'}", f"--storage.path={tmp_path / 'am'}",
                f"--web.listen-address={address}", "--cluster.listen-address=", log=tmp_path / "am.log",
            )
        )  # fmt: skip
        parts.enter_context(
            running(
                prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{web}", log=tmp_path / "prometheus.log",
            )
        )  # fmt: skip
        url = f"http://127.0.0.1:{web}"
        wait_for(lambda: ask(f"{url}/api/v1/query?query=sum(readfirst_event_to_rank_seconds_count)>5")["data"]["result"], 180, "ranks")
        yield product, receiver, url


@pytest.mark.timeout(900)
def test_a_stopped_stage_is_told_within_a_minute_and_nothing_else_is(watched: tuple[Product, Receiver, str]) -> None:
    """SIGSTOP of the context agent: /ops, `readfirst lag` and the pager say so with the consequence; resumed, all end it by themselves."""
    product, receiver, prometheus = watched
    assert receiver.told == [], "calm before"
    (pid,) = [part.identity.pid for part in status(product.data).parts if part.name == "agent-context" and part.identity]
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    wait_for(lambda: receiver.told, FIRES_WITHIN_S, f"an alert; log: {receiver.told}")
    seen = page(product)
    lag = product.run("lag", "--once")
    with suppress(ProcessLookupError):  # after 40 s the supervisor has put another in its place
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - stopped < 2 * FIRES_WITHIN_S

    assert receiver.told[0] == ("firing", "ReadfirstStageBehind", "context")
    assert [one["remedy"] for one in seen["conditions"]] in (["stage-behind"], ["partition-standing-still"])
    assert re.search(r"stud(y|ies) .*context.* ranked on data \d+ s old|no open study is affected", seen["conditions"][0]["words"])
    assert lag.returncode in (0, 1)  # 0: the supervisor was faster than this command's start

    wait_for(lambda: ("resolved", "ReadfirstStageBehind", "context") in receiver.told, RESOLVES_WITHIN_S, "the end of the alert")
    wait_for(lambda: page(product)["conditions"] == [], 30, "a calm page")
    assert {name for _, name, _ in receiver.told} == {"ReadfirstStageBehind"}
    assert no_identifier_in([*receiver.bodies, *(metrics(product))])
    assert ask(f"{prometheus}/api/v1/targets")["data"]["activeTargets"]


def page(product: Product) -> dict[str, Any]:
    """What /ops shows."""
    web = settings_of(product.data).web
    return dict(ask(f"http://{web.host}:{web.port}/api/ops"))


def metrics(product: Product) -> list[str]:
    """What every role serves."""
    targets = json.loads((product.data / "run" / "prometheus.json").read_text())
    addresses = [address for target in targets for address in target["targets"]]
    texts = []
    for address in addresses:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            texts.append(answer.read().decode())
    return texts


def no_identifier_in(texts: list[str]) -> bool:
    """Names and numbers of the demo's patients are in none of them."""
    names = [*FAMILIES, *(name for names in GIVEN.values() for name in names)]
    identifier = re.compile("|".join([*(rf"\b{re.escape(name)}\b" for name in names), r"\b[AP]?\d{11}\b"]))
    labels = [re.findall(r'"([^"]*)"', text) for text in texts]
    return not any(identifier.search(label) for found in labels for label in found)
