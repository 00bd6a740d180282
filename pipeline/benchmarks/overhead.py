"""What looking on costs the context stage: the same load without metrics and traces, with metrics that are scraped, and with traces too."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any

from pipeline.adapters.local.network import reserved
from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.telemetry.tracing import TRACES_MAX
from pipeline.benchmarks import context_worker, servers
from pipeline.benchmarks.context_worker import Run
from pipeline.benchmarks.vitals import Load

WATCHING = ("nothing", "metrics", "traces")
"""Each is what the one before it is, and more."""
SCRAPE_EVERY_S = 5.0
"""As infra/prometheus/prometheus.yml has it."""


def measure(load: Load, rounds: int, progress: Progress) -> dict[str, Any]:
    """Rounds of one run each, every round in another order; each run on topics and a database of its own. Raises StackError."""
    found: dict[str, list[Run]] = {name: [] for name in WATCHING}
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("postgres", "kafka"), steps=()) as settings:
        for number in range(rounds):
            for name in turned(number):
                ground = servers.fresh_ground(settings)
                asyncio.run(context_worker.fill(ground, load.studies()))
                if load.open_patients:
                    context_worker.learn(ground, load, data)
                asyncio.run(context_worker.fill(ground, load.vitals()))
                with _watched(name) as variables:
                    run = context_worker.run(ground, load, data, variables)
                progress(name, f"{run.rate:,.0f} events/s, {run.per_cpu_s:,.0f} a processor second")
                found[name].append(run)
    return summary(found, load)


def turned(number: int) -> list[str]:
    """The order of a round: whoever came first comes last in the next, so that a machine that warms up favours none."""
    first = number % len(WATCHING)
    return [*WATCHING[first:], *WATCHING[:first]]


def summary(found: dict[str, list[Run]], load: Load) -> dict[str, Any]:
    """How much more processor time and time an event takes than in the unwatched run of the same round; medians of the rounds."""
    plain = found["nothing"]

    def of(name: str) -> dict[str, Any]:
        runs = found[name]
        return {"events_per_s": round(median(run.rate for run in runs)), "events_per_cpu_s": round(median(run.per_cpu_s for run in runs))}

    def cost(name: str) -> dict[str, float]:
        pairs = list(zip(plain, found[name], strict=True))
        more = {
            "cpu": [before.per_cpu_s / after.per_cpu_s - 1 for before, after in pairs],
            "time": [before.rate / after.rate - 1 for before, after in pairs],
        }
        return {kind: round(median(shares), 4) for kind, shares in more.items()}

    return {
        "nothing": of("nothing"),
        **{name: {**of(name), "cost": cost(name)} for name in WATCHING[1:]},
        "events": load.events,
        "patients": load.patients,
        "rounds": len(plain),
        "spans_max": TRACES_MAX,
    }


@contextmanager
def _watched(name: str) -> Iterator[dict[str, str]]:
    """The worker's variables while the block runs, and whoever scrapes it and collects its traces."""
    with ExitStack() as parts:
        variables = {}
        if name != "nothing":
            (port,) = parts.enter_context(reserved(1))
            variables["READFIRST_TELEMETRY__PORT"] = str(port)
            parts.enter_context(_scraper(f"http://127.0.0.1:{port}/metrics"))
        if name == "traces":
            variables["READFIRST_TELEMETRY__OTLP_ENDPOINT"] = parts.enter_context(_collector())
        yield variables


@contextmanager
def _scraper(url: str) -> Iterator[None]:
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_EVERY_S):
            with suppress(OSError), urllib.request.urlopen(url, timeout=SCRAPE_EVERY_S) as answer:
                answer.read()

    thread = threading.Thread(target=scrape, name="scraper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _collector() -> Iterator[str]:
    """The address of an OTLP/HTTP receiver that takes whatever comes and keeps none of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="collector", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces"
    finally:
        server.shutdown()
        server.server_close()
