"""Faults under a real Prometheus and Alertmanager: for each the right alert comes, no other does, and it ends when the fault has ended."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from confluent_kafka import Producer

from pipeline.adapters.local.stack import settings_of, status
from pipeline.adapters.site.published import default_yaml
from pipeline.benchmarks.monitoring import CONFIGURATION, Watch, ask, programs, wait_for, watching
from pipeline.errors import StackError
from pipeline.settings import Settings
from pipeline.simulation.feed import Feed
from pipeline.simulation.hospital import Hospital, Plan
from schemas.topics import LABS
from tests.e2e.identifiers import Identifiers
from tests.e2e.product import Product, metrics

FIRES_WITHIN_S = 60.0
RESOLVES_WITHIN_S = 240.0
FACTOR = 120.0
"""How many times faster than life the hospital runs: the first ranks come within a quarter of a minute."""
LETTERS_MAX = 3
CONSEQUENCE = re.compile(r"stud(y|ies) .*context.* ranked on data \d+ s old|no open study is affected")
QUICKER = ("ReadfirstModelAway", "ReadfirstSourceSilent", "ReadfirstSiteFileRefused")
"""Alerts that wait a minute as shipped; here ten seconds. Nothing of what follows a stopped stage is among them."""
OVERLOAD = 4.0
"""Processes that want to run, for each core, over five minutes: two test workers and their stacks are some two."""
OF_SLOWNESS = frozenset({"ReadfirstStageBehind", "ReadfirstRankPromiseBurns"})
_HISTORY = """
insert into intake.receipt (source, kind, identity, outcome, opened_at)
select 'ECG|WARD', 'hl7', 'history-' || n, 'accepted', clock_timestamp() - n * interval '1 minute' from generate_series(30, 1530) as n
"""
"""A message a minute at each hour of the day, and none for half an hour."""
_AGAIN = "insert into intake.receipt (source, kind, identity, outcome) values ('ECG|WARD', 'hl7', 'again', 'accepted')"


@dataclass(frozen=True)
class Ward:
    """A stack under a stream of events, and Prometheus and Alertmanager over it."""

    product: Product
    watch: Watch
    sent: Identifiers
    site_file: Path

    @property
    def settings(self) -> Settings:
        """The stack's."""
        return settings_of(self.product.data)

    def signal(self, part: str, number: signal.Signals) -> int:
        """To the process of this part; its pid."""
        (pid,) = [row.identity.pid for row in status(self.product.data).parts if row.name == part and row.identity]
        os.kill(pid, number)
        return pid

    def page(self) -> dict[str, Any]:
        """What /ops shows."""
        web = self.settings.web
        return dict(ask(f"http://{web.host}:{web.port}/api/ops"))

    def calm(self) -> None:
        """Waits until nothing is amiss, neither on the page nor for Prometheus."""
        wait_for(lambda: self.page()["conditions"] == [], RESOLVES_WITHIN_S, "the page is not calm")
        wait_for(lambda: not self.firing(), RESOLVES_WITHIN_S, "Prometheus is not calm")

    def firing(self) -> set[str]:
        """The alerts that Prometheus holds for true now, whether or not somebody is told."""
        alerts = ask(f"{self.watch.prometheus}/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def told(self, since: float, state: str) -> set[tuple[str, str]]:
        """(alert, stage) that somebody was told of."""
        return {(told.alert, told.stage) for told in self.watch.receiver.since(since, state)}

    def wait_told(self, since: float, state: str, alerts: set[tuple[str, str]], within_s: float) -> None:
        """Until somebody was told of all of these."""
        with suppress(StackError):
            wait_for(lambda: alerts <= self.told(since, state), within_s, "")
        assert alerts <= self.told(since, state), f"{state} within {within_s:.0f} s"

    def others(self, since: float, expected: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """What somebody was told of besides. On a machine that has far more to do than cores, stages are late of themselves."""
        others = self.told(since, "firing") - expected
        overloaded = os.getloadavg()[1] > OVERLOAD * (os.cpu_count() or 1)
        return {alert for alert in others if not (overloaded and alert[0] in OF_SLOWNESS)}

    def fact(self, statement: str) -> None:
        """Into the store, as if it had happened."""
        with psycopg.connect(self.settings.postgres.dsn.get_secret_value()) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """With all of it warm."""
    try:
        programs()
    except StackError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("ward")
    product, sent, site_file, rules = Product(folder / "data"), Identifiers(), folder / "site.yaml", folder / "quicker.yaml"
    site_file.write_text(default_yaml())
    rules.write_text(_quicker())
    with ExitStack() as parts:
        environment = parts.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("READFIRST_SITE_FILE", str(site_file))
        environment.setenv("READFIRST_GATEWAYS__DEAD_LETTERS_MAX", str(LETTERS_MAX))
        started = product.run("up", "--detach", timeout_s=600)
        assert started.returncode == 0, started.stderr[-3000:]
        parts.callback(product.run, "down")
        parts.enter_context(_stream(settings_of(product.data), sent))
        watch = parts.enter_context(watching(folder, product.data / "run" / "prometheus.json", rules))
        yield Ward(product, watch, sent, site_file)


def _quicker() -> str:
    """The shipped rules, some with a shorter `for`."""
    document = yaml.safe_load((CONFIGURATION / "rules.yaml").read_text())
    quicker = [rule for group in document["groups"] for rule in group["rules"] if rule.get("alert") in QUICKER]
    assert [rule["for"] for rule in quicker] == ["1m"] * len(QUICKER)
    for rule in quicker:
        rule["for"] = "10s"
    return yaml.safe_dump(document)


@contextmanager
def _stream(settings: Settings, sent: Identifiers) -> Iterator[None]:
    """A hospital that goes on sending until the block ends, and notes whom it spoke of."""

    async def run() -> None:
        async with Feed(settings) as feed:
            for seed in range(1, 1000):
                begun = datetime.now(UTC)
                hospital = Hospital(
                    Plan(studies=30, seed=seed), lambda at, begun=begun: begun + at / FACTOR, f"{int(begun.timestamp()) % 1_000_000:06d}"
                )
                await feed.send(sent.noted(hospital.messages()), speed=FACTOR)

    loop = asyncio.new_event_loop()
    sending = loop.create_task(run())

    def turn() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(sending)
        loop.close()

    thread = threading.Thread(target=turn, name="hospital")
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(sending.cancel)
        thread.join()


@pytest.mark.timeout(900)
def test_independent_faults_are_told_each_by_its_own_alert(ward: Ward) -> None:
    """At once: Triton hangs, a source has fallen silent, the site file is refused; then too many dead letters. The last stops the intake,
    and the alerts that follow from it are held back."""
    ward.calm()
    begun, good = time.monotonic(), ward.site_file.read_text()
    together = {("ReadfirstModelAway", "scoring"), ("ReadfirstSourceSilent", ""), ("ReadfirstSiteFileRefused", "")}
    ward.fact(_HISTORY)
    ward.signal("web", signal.SIGKILL)  # the one started in its place reads what was
    ward.site_file.write_text("targets: none\n")
    triton = ward.signal("triton", signal.SIGSTOP)
    try:
        ward.wait_told(begun, "firing", together, 2 * FIRES_WITHIN_S)
        remedies = {condition["remedy"] for condition in ward.page()["conditions"]}
    finally:
        with suppress(ProcessLookupError):  # after half a minute the supervisor has put another in its place
            os.kill(triton, signal.SIGCONT)
        ward.site_file.write_text(good)
        ward.fact(_AGAIN)
    assert {"source-silent", "site-file-refused"} <= remedies
    ward.wait_told(begun, "resolved", together, RESOLVES_WITHIN_S)

    _send_rubbish(ward.settings)
    ward.wait_told(begun, "firing", {("ReadfirstIntakeStopped", "")}, 2 * FIRES_WITHIN_S)
    letters = [line["place"] for line in ward.product.lines("dlq", "list", "--json")]
    assert len(letters) == LETTERS_MAX
    assert ward.product.run("dlq", "purge", *letters, "--reason", "rubbish of a test").returncode == 0
    ward.wait_told(begun, "resolved", {("ReadfirstIntakeStopped", "")}, RESOLVES_WITHIN_S)

    # The picture agent asks Triton seldom: its own word on the same fault is held back only while the scoring agent's stands.
    assert ward.others(begun, {*together, ("ReadfirstModelAway", "pictures"), ("ReadfirstIntakeStopped", "")}) == set()
    ward.calm()


def _send_rubbish(settings: Settings) -> None:
    """As many records that no stage understands as stop the intake."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for number in range(LETTERS_MAX):
        producer.produce(settings.kafka.topic_prefix + LABS.name, key=f"{number:032x}".encode(), value=b"rubbish")
    assert producer.flush(30) == 0


@pytest.mark.timeout(900)
def test_a_stopped_stage_is_told_within_a_minute_and_nothing_else_is(ward: Ward, record_property: Callable[[str, object], None]) -> None:
    """SIGSTOP of the context agent: /ops, `readfirst lag` and the pager say so with the consequence; resumed, all end it by themselves."""
    ward.calm()
    receiver = ward.watch.receiver
    stopped = time.monotonic()
    pid = ward.signal("agent-context", signal.SIGSTOP)
    seen = wait_for(lambda: (page := ward.page())["conditions"] and page, FIRES_WITHIN_S, "the page does not say so")
    lag = ward.product.run("lag", "--once")
    behind = ("ReadfirstStageBehind", "context")
    ward.wait_told(stopped, "firing", {behind}, FIRES_WITHIN_S)
    with suppress(ProcessLookupError):  # after 40 s the supervisor has put another in its place
        os.kill(pid, signal.SIGCONT)
    first = next(told for told in receiver.since(stopped, "firing") if (told.alert, told.stage) == behind)
    record_property("stop_to_alert_s", round(first.at - stopped, 1))
    assert time.monotonic() - stopped < 2 * FIRES_WITHIN_S

    assert [one["remedy"] for one in seen["conditions"]] in (["stage-behind"], ["partition-standing-still"])
    assert CONSEQUENCE.search(seen["conditions"][0]["words"])
    assert lag.returncode == 1, lag.stdout + lag.stderr
    assert CONSEQUENCE.search(" ".join(lag.stdout.split()))

    ward.wait_told(stopped, "resolved", {behind}, RESOLVES_WITHIN_S)
    wait_for(lambda: ward.page()["conditions"] == [], RESOLVES_WITHIN_S, "the page is not calm")
    assert ward.others(stopped, {behind}) == set()
    assert ward.sent.within("\n".join([*receiver.bodies, *metrics(ward.product.data)])) == []
    assert ask(f"{ward.watch.prometheus}/api/v1/targets")["data"]["activeTargets"]
