"""The local stack: starts, keeps its state, restarts what dies, chooses other ports, leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr

from pipeline.adapters.local import heartbeat, supervisor
from pipeline.adapters.local.network import free_port
from pipeline.adapters.local.process import Launch
from pipeline.adapters.local.stack import Stack, down, settings_of, status
from pipeline.adapters.local.state import State
from pipeline.benchmarks.servers import elsewhere
from pipeline.errors import StackError
from pipeline.settings import Settings
from tests.integration import toy_model
from tests.stack_fixtures import DatabaseFactory

PRELOAD = ("pipeline.adapters.local.heartbeat", "pipeline.settings")


def fake_role(name: str) -> Sequence[str]:
    return [sys.executable, "-m", "tests.integration.fake_role", name]


@contextmanager
def started(
    data: Path, roles: Sequence[str] = ("web",), servers: Sequence[str] = ("postgres", "kafka"), settings: Settings | None = None
) -> Iterator[Stack]:
    stack = Stack(data, roles, servers=servers, settings=settings, role_command=fake_role, build_models=toy_model.build, preload=PRELOAD)
    stack.start(lambda part, what: print(f"{time.monotonic():.2f} {part}: {what}"))
    try:
        yield stack
    finally:
        stack.stop()


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.1)


def state_of(data: Path, part: str) -> State:
    return next(row.state for row in status(data).parts if row.name == part)


def pid_of(data: Path, part: str) -> int:
    identity = next(row.identity for row in status(data).parts if row.name == part)
    assert identity is not None
    return identity.pid


def replaced(data: Path, part: str, pid: int) -> bool:
    """Whether another process than `pid` is the part now, and healthy: told by one reading, for the next one may tell otherwise."""
    row = next(row for row in status(data).parts if row.name == part)
    return row.state is State.HEALTHY and row.identity is not None and row.identity.pid != pid


def descendants_of_data(data: Path) -> list[str]:
    """Every process of this machine whose command line names the data folder."""
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if str(data) in " ".join(process.info["cmdline"] or ())
    ]


def put_record(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(60)
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    producer.produce("kept", b"a record")
    assert producer.flush(60) == 0


def get_record(servers: str) -> bytes:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    message = consumer.poll(60)
    consumer.close()
    assert message is not None and message.error() is None
    return message.value()


def test_state_survives_a_restart(tmp_path: Path) -> None:
    """A record and a row written before a stop are there after the next start; ports and the site key stay the same."""
    settings = elsewhere()  # whoever starts a stack meanwhile is given the usual ports
    with started(tmp_path, settings=settings) as stack:
        before = stack.addresses()
        put_record(before.kafka.bootstrap_servers)
        with psycopg.connect(before.postgres.dsn.get_secret_value()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert {row.state for row in status(tmp_path).parts} <= {State.STOPPED, State.DONE}
    with started(tmp_path, settings=settings) as stack:
        after = stack.addresses()
        assert after == before
        assert get_record(after.kafka.bootstrap_servers) == b"a record"
        with psycopg.connect(after.postgres.dsn.get_secret_value()) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert settings_of(tmp_path) == after, "other commands find the running stack by its data folder"


def test_what_is_killed_comes_back(tmp_path: Path) -> None:
    """kill -9 of Kafka, Postgres and a role: each is started again, at the same address, with its state."""
    with started(tmp_path) as stack:
        settings = stack.addresses()
        put_record(settings.kafka.bootstrap_servers)
        before = {part: pid_of(tmp_path, part) for part in ("kafka", "postgres", "web")}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(replaced(tmp_path, part, pid) for part, pid in before.items()))
        until(lambda: status(tmp_path).healthy)
        assert get_record(settings.kafka.bootstrap_servers) == b"a record"
        with psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_roles_outlive_the_fork_server(tmp_path: Path) -> None:
    """kill -9 of it: the roles go on, one that dies meanwhile comes back without it, and it comes back as well."""
    with started(tmp_path, servers=("postgres",)):
        web, server = pid_of(tmp_path, "web"), pid_of(tmp_path, "fork-server")
        assert psutil.Process(web).ppid() == os.getpid(), "a fork is the supervisor's own child"
        os.kill(server, signal.SIGKILL)
        until(lambda: replaced(tmp_path, "fork-server", server))
        assert pid_of(tmp_path, "web") == web
        os.kill(pid_of(tmp_path, "fork-server"), signal.SIGSTOP)
        os.kill(web, signal.SIGKILL)
        until(lambda: replaced(tmp_path, "web", web))


async def test_what_has_run_well_for_a_while_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka makes its class archive then: `settled` is called, in a thread, after the start and not for it."""
    monkeypatch.setattr(supervisor, "_SETTLED_AFTER_S", 0.0)
    told: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    part = supervisor.Part(
        "sleeper",
        "server",
        lambda: Launch(["sleep", "60"], tmp_path / "log"),
        settled=lambda: asyncio.run_coroutine_threadsafe(told.put(threading.current_thread().name), loop).result(),
    )
    stack = supervisor.Supervisor([part], lambda part, what: None, lambda parts: None)
    await stack.start()
    try:
        assert await asyncio.wait_for(told.get(), 30) != threading.current_thread().name
    finally:
        await stack.stop()
    assert told.empty()


def test_killed_triton_comes_back(tmp_path: Path) -> None:
    """kill -9 of Triton: started again, and its model answers again."""
    with started(tmp_path, roles=(), servers=("triton",)) as stack:
        if state_of(tmp_path, "triton") is State.ABSENT:
            pytest.skip("no Triton for this machine")
        url = stack.addresses().triton.url
        assert url is not None
        assert toy_model.ask(url, 1.0) == 2.0
        killed = pid_of(tmp_path, "triton")
        os.kill(killed, signal.SIGKILL)
        until(lambda: replaced(tmp_path, "triton", killed))
        assert toy_model.ask(url, 2.0) == 3.0


def test_taken_ports_are_avoided(tmp_path: Path) -> None:
    """Where another program listens on a usual port, the part listens elsewhere, and the settings say where."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        settings = Settings()
        settings.web.port = taken
        stack = Stack(tmp_path, ("web",), servers=("postgres",), settings=settings, role_command=fake_role, preload=PRELOAD)
        stack.start(lambda part, what: None)
        try:
            port = stack.addresses().web.port
            assert port != taken
            assert f'"port":{port}' in (tmp_path / "log" / "web.log").read_text(), "the role is told its port"
        finally:
            stack.stop()


def test_one_stack_a_folder(tmp_path: Path) -> None:
    """A second stack on the same data folder is refused with words that help."""
    with started(tmp_path, servers=("postgres",)):
        with pytest.raises(StackError, match="already runs") as refused:
            Stack(tmp_path, (), servers=("postgres",), steps=()).start(lambda part, what: None)
        assert "readfirst down" in refused.value.remedy


def test_a_role_that_cannot_run_ends_the_start(tmp_path: Path) -> None:
    """A role that fails at once three times: the start fails with the role's own last words, and nothing is left running."""
    with pytest.raises(StackError, match="the disk is on fire"), started(tmp_path, roles=("broken",), servers=("postgres",)):
        pass
    assert descendants_of_data(tmp_path) == []


def test_a_role_that_hangs_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that runs but stops beating is called unhealthy, then killed and started again."""
    monkeypatch.setattr(heartbeat, "STALE_AFTER_S", 1.5)
    monkeypatch.setattr(supervisor, "_HUNG_AFTER_S", 2.0)
    stack = Stack(tmp_path, ("hangs",), servers=("postgres",), steps=(), role_command=fake_role, preload=PRELOAD)
    stack.start(lambda part, what: None)
    try:
        first = pid_of(tmp_path, "hangs")
        until(lambda: state_of(tmp_path, "hangs") is State.UNHEALTHY)
        until(lambda: replaced(tmp_path, "hangs", first))
    finally:
        stack.stop()


def test_external_servers_are_used_and_left_running(tmp_path: Path, kafka: str, postgres: DatabaseFactory) -> None:
    """With external servers the roles are given those of the settings; no server is started, and none is ended."""
    settings = Settings()
    settings.kafka.bootstrap_servers = kafka
    settings.postgres.dsn = SecretStr(postgres())
    settings.web.port = free_port()
    stack = Stack(tmp_path, ("web",), servers=(), settings=settings, role_command=fake_role, preload=PRELOAD)
    stack.start(lambda part, what: None)
    try:
        assert [part.name for part in status(tmp_path).parts] == ["fork-server", "migrate", "topics", "web"]
        assert status(tmp_path).external
        assert stack.addresses().kafka == settings.kafka
        assert stack.addresses().postgres == settings.postgres
    finally:
        stack.stop()
    assert AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=60).brokers


_COMMAND = """
import sys
import typer
from tests.integration.test_stack import PRELOAD, fake_role
from pipeline.adapters.local.stack import Stack
from pipeline.cli import doctor, stack
stack.local_stack = lambda place, external=False: Stack(place, ("web",), servers=("postgres",), role_command=fake_role, preload=PRELOAD)
app = typer.Typer()
stack.register(app)
doctor.register(app)
app()
"""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _COMMAND, *arguments], capture_output=True, text=True, timeout=200)


def _as_on_a_terminal() -> None:
    """A shell starts what runs in its background, these tests perhaps, with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_up_in_the_foreground_ends_cleanly(tmp_path: Path, signal_: signal.Signals) -> None:
    """`up` says where the page is; `status --json` tells of each part; Ctrl-C or SIGTERM stops all in order."""
    up = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "up", "--data", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_on_a_terminal,
    )
    assert up.stderr is not None
    try:
        assert any("The worklist: http://127.0.0.1:" in line for line in up.stderr)
        told = command("status", "--json", "--data", str(tmp_path))
        assert told.returncode == 0
        document = json.loads(told.stdout)
        assert document["running"] and document["healthy"]
        assert {part["name"]: part["state"] for part in document["parts"]} == {
            "fork-server": "healthy",
            "postgres": "healthy",
            "migrate": "done",
            "topics": "done",
            "web": "healthy",
        }
        second = command("up", "--detach", "--data", str(tmp_path))
        assert second.returncode == 1 and "already runs" in second.stderr and "did not start" not in second.stderr
        examined = {row["check"]: row for row in json.loads(command("doctor", "--json", "--data", str(tmp_path)).stdout)}
        assert examined["heartbeat web"]["verdict"] == "ok"
        assert examined["postgres"]["verdict"] == "ok"
        assert examined["migrations"]["verdict"] == "failed", "the fake step made no tables"
        assert "readfirst run migrate" in examined["migrations"]["remedy"]
        up.send_signal(signal_)
        up.wait(120)
        assert "ended cleanly" in (tmp_path / "log" / "web.log").read_text()
    finally:
        up.kill()
        up.wait()
        up.stderr.close()
    assert descendants_of_data(tmp_path) == []
    assert command("status", "--data", str(tmp_path)).returncode == 1


_UP = """
import sys, signal
from pathlib import Path
from tests.integration.test_stack import PRELOAD, fake_role
from pipeline.adapters.local.stack import Stack
stack = Stack(Path(sys.argv[1]), ("web",), role_command=fake_role, servers=("postgres", "kafka"), preload=PRELOAD)
signal.signal(signal.SIGTERM, lambda *_: stack.stop())
stack.start(lambda part, what: None)
print("healthy", flush=True)
stack.wait()
"""


@contextmanager
def started_elsewhere(data: Path) -> Iterator[subprocess.Popen[str]]:
    supervisor = subprocess.Popen([sys.executable, "-c", _UP, str(data)], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    try:
        assert supervisor.stdout.readline() == "healthy\n"
        yield supervisor
    finally:
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()


def test_down_leaves_nothing_behind(tmp_path: Path) -> None:
    """`down` ends the supervisor in another process and everything it started."""
    with started_elsewhere(tmp_path) as supervisor:
        pids = [pid_of(tmp_path, part) for part in ("kafka", "postgres", "web")]
        assert down(tmp_path) is True
        assert supervisor.wait(60) == 0
        assert not any(psutil.pid_exists(pid) for pid in pids)
        assert "ended cleanly" in (tmp_path / "log" / "web.log").read_text()
    assert descendants_of_data(tmp_path) == []
    assert down(tmp_path) is False


def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    """After kill -9 of the supervisor nothing goes on without it, and the next start works."""
    with started_elsewhere(tmp_path) as supervisor:
        web = pid_of(tmp_path, "web")
        supervisor.kill()
        supervisor.wait()
        until(lambda: not psutil.pid_exists(web))
        assert status(tmp_path).healthy is False
    with started(tmp_path):
        assert status(tmp_path).healthy
    assert descendants_of_data(tmp_path) == []


def test_free_port_keeps_out_of_the_ephemeral_range() -> None:
    """A port we choose cannot be taken by somebody's outgoing connection before we listen on it."""
    assert 20000 <= free_port() < 32000
