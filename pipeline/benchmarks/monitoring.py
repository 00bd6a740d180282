"""A real Prometheus and a real Alertmanager over a running stack, configured as shipped, and somebody whom they tell."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.adapters.local.network import reserved
from pipeline.adapters.local.process import Child, Launch
from pipeline.errors import StackError

CONFIGURATION = Path(__file__).resolve().parents[2] / "infra" / "prometheus"
WARM_S = 180.0
WARM = "sum(readfirst_event_to_rank_seconds_count) > 5"


class Told(NamedTuple):
    """An alert as Alertmanager sent it. status: firing or resolved. at: on this process's monotonic clock, seconds."""

    status: str
    alert: str
    stage: str
    at: float


class Receiver:
    """Gets what Alertmanager sends, in the order of coming."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.bodies: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body, at = self.rfile.read(int(self.headers["content-length"])).decode(), time.monotonic()
                receiver.bodies.append(body)
                for alert in json.loads(body)["alerts"]:
                    labels = alert["labels"]
                    receiver.told.append(Told(alert["status"], labels["alertname"], labels.get("stage", ""), at))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, name="receiver", daemon=True).start()

    def since(self, moment: float, status: str) -> list[Told]:
        """What came after a moment of the monotonic clock."""
        return [told for told in self.told if told.at >= moment and told.status == status]

    def close(self) -> None:
        """Frees the port."""
        self.server.shutdown()
        self.server.server_close()


class Watch(NamedTuple):
    """Who is told, and Prometheus's address."""

    receiver: Receiver
    prometheus: str


def programs() -> tuple[str, str]:
    """Prometheus and Alertmanager. Raises StackError without them."""
    found = shutil.which("prometheus"), shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found[0] is None or found[1] is None:
        raise StackError("Prometheus or Alertmanager is not installed", "apt-get install prometheus prometheus-alertmanager")
    return found[0], found[1]


@contextmanager
def watching(folder: Path, targets: Path, rules: Path = CONFIGURATION / "rules.yaml") -> Iterator[Watch]:
    """Both for the time of the block, begun when Prometheus knows of ranked events: somebody must feed the stack. Raises StackError.

    folder: for their state and logs. targets: a stack's `run/prometheus.json`. rules: as shipped, where no others are named.
    """
    prometheus, alertmanager = programs()
    receiver = Receiver()
    with ExitStack() as parts:
        parts.callback(receiver.close)
        web, manager = parts.enter_context(reserved(2))
        _configure(folder, targets, rules, receiver.server.server_port, manager)
        for name, command in (
            (
                "alertmanager",
                (alertmanager, f"--web.listen-address=127.0.0.1:{manager}", "--cluster.listen-address=", f"--storage.path={folder / 'am'}"),
            ),
            ("prometheus", (prometheus, f"--web.listen-address=127.0.0.1:{web}", f"--storage.tsdb.path={folder / 'tsdb'}")),
        ):
            argv = [*command, f"--config.file={folder / name}.yml"]
            parts.callback(Child(Launch(argv, folder / f"{name}.log", dict(os.environ))).stop)
        url = f"http://127.0.0.1:{web}"
        warm = f"{url}/api/v1/query?query={urllib.parse.quote(WARM)}"
        wait_for(lambda: ask(warm)["data"]["result"], WARM_S, "Prometheus knows of no ranked event")
        yield Watch(receiver, url)


def _configure(folder: Path, targets: Path, rules: Path, receiver: int, manager: int) -> None:
    """What is shipped, with these ports."""
    shutil.copy(rules, folder / "rules.yaml")
    (folder / "targets").mkdir()
    (folder / "targets" / "local.json").symlink_to(targets)
    prometheus = (CONFIGURATION / "prometheus.yml").read_text().replace("127.0.0.1:9093", f"127.0.0.1:{manager}")
    (folder / "prometheus.yml").write_text(prometheus)
    told = re.sub(r"http://127\.0\.0\.1:9095/", f"http://127.0.0.1:{receiver}/", (CONFIGURATION / "alertmanager.yml").read_text())
    (folder / "alertmanager.yml").write_text(told)


def wait_for(what: Callable[[], Any], seconds: float, words: str) -> Any:
    """The first true answer. Raises StackError with `words` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, LookupError):
            if answer := what():
                return answer
        time.sleep(0.25)
    raise StackError(f"after {seconds:.0f} s: {words}", "look at the logs of the stack, of Prometheus and of Alertmanager")


def ask(url: str) -> Any:
    """The JSON at a local address."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)
