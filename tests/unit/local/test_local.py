"""The local stack's own rules, without starting a server."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest
from pydantic import SecretStr

from pipeline.adapters.local import heartbeat, kafka_jars, ports, state, triton_environment
from pipeline.adapters.local.folders import Folders
from pipeline.adapters.local.heartbeat import Heartbeat
from pipeline.adapters.local.network import Reservations, free_port, is_free, reserved
from pipeline.adapters.local.ports import Usual
from pipeline.adapters.local.process import Identity, rotate, shorten
from pipeline.adapters.local.stack import settings_of
from pipeline.adapters.local.state import PartState, StackState, State
from pipeline.adapters.local.supervisor import Backoff
from pipeline.adapters.local.table import ROLES, SERVERS, Table, environment
from pipeline.cli.running import running_settings
from pipeline.errors import StackError
from pipeline.settings import Gateways, Kafka, Settings


@pytest.fixture
def jars(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of two jars and the file of their checksums."""
    folder = tmp_path / "jars"
    folder.mkdir()
    lines = []
    for name in ("a.jar", "b.jar"):
        (folder / name).write_bytes(name.encode())
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}")
    checksums = tmp_path / "sums"
    checksums.write_text("\n".join(lines))
    return folder, checksums


def test_jars_as_pinned_pass(jars: tuple[Path, Path]) -> None:
    """Nothing is raised for the very files that were pinned."""
    kafka_jars.verify(*jars)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "b.jar").write_bytes(b"tampered"), r"b\.jar .* does not match its pinned SHA-256"),
        (lambda folder: (folder / "b.jar").unlink(), r"b\.jar is missing"),
        (lambda folder: (folder / "c.jar").write_bytes(b"c"), r"c\.jar .* not one of Kafka's pinned jars"),
    ],
)
def test_a_changed_jar_is_named(jars: tuple[Path, Path], change: object, words: str) -> None:
    """A jar that is changed, missing or added is refused by name, with what to do."""
    folder, checksums = jars
    change(folder)  # type: ignore[operator]
    with pytest.raises(StackError, match=words) as refused:
        kafka_jars.verify(folder, checksums)
    assert str(folder) in refused.value.remedy


def test_the_committed_checksums_are_of_the_pinned_version() -> None:
    """The list holds Kafka's own jars in the version that is fetched, and a logger binding."""
    names = kafka_jars.expected()
    assert f"kafka_2.13-{kafka_jars.KAFKA_VERSION}.jar" in names
    assert f"kafka-clients-{kafka_jars.KAFKA_VERSION}.jar" in names
    assert any(name.startswith("slf4j-simple-") for name in names)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in names.values())


def test_triton_is_pinned_by_hash() -> None:
    """Every requirement has an exact version and hashes; numpy stays below 2, as the wheel needs."""
    text = triton_environment.REQUIREMENTS.read_text()
    requirements = re.findall(r"^([\w-]+)==(\S+) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", text, re.M)
    versions = {name: version for name, version, _ in requirements}
    assert set(versions) == {"nvidia-pytriton", "numpy", "onnxruntime"}
    assert versions["numpy"].startswith("1.")
    assert len(re.findall("==", text)) == len(requirements)


def test_pauses_double_and_start_anew_after_health() -> None:
    """0.5 s doubling to 10 s; half a minute of health forgives."""
    backoff = Backoff()
    assert [backoff.next(0) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert [backoff.next(29), backoff.next(30), backoff.next(1)] == [10, 0.5, 1]


@pytest.fixture
def reservations(tmp_path: Path) -> Iterator[Reservations]:
    made = Reservations(tmp_path / "ports")
    yield made
    made.release()


def test_a_free_usual_port_is_taken(reservations: Reservations) -> None:
    """Nothing in the way: the port of the settings."""
    port = free_port()
    assert ports.choose({"web": Usual("127.0.0.1", port)}, {}, reservations)["web"] == {"usual": port, "port": port}


def test_the_port_of_last_time_is_taken_again(reservations: Reservations) -> None:
    """A port once chosen stays, so that what is set up to find it goes on finding it, until the settings name another."""
    usual, last, changed = free_port(), free_port(), free_port()
    remembered = {"web": {"usual": usual, "port": last}}
    assert ports.choose({"web": Usual("127.0.0.1", usual)}, remembered, reservations)["web"]["port"] == last
    assert ports.choose({"web": Usual("127.0.0.1", changed)}, remembered, reservations)["web"]["port"] == changed


def test_no_port_is_given_twice(reservations: Reservations, tmp_path: Path) -> None:
    """Two parts with the same usual port get different ones; so do two stacks of which neither listens yet."""
    port = free_port()
    chosen = ports.choose({"a": Usual("127.0.0.1", port), "b": Usual("127.0.0.1", port)}, {}, reservations)
    assert chosen["a"]["port"] == port != chosen["b"]["port"]
    other = Reservations(tmp_path / "ports")
    assert ports.choose({"a": Usual("127.0.0.1", port)}, {}, other)["a"]["port"] not in {port, chosen["b"]["port"]}
    other.release()
    reservations.release()
    assert ports.choose({"a": Usual("127.0.0.1", port)}, {}, other)["a"]["port"] == port
    other.release()


def test_a_port_given_back_while_another_asks_for_it_is_not_given_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who asks has the lock file open already when it is taken away: what it then locks is no file that a third would find."""
    first, second, third = (Reservations(tmp_path / "ports") for _ in range(3))
    port = first.another()
    lock = fcntl.flock

    def given_back_just_before(file: IO[str], operation: int) -> None:
        first.release()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", given_back_just_before)
    assert second.take(port)
    assert not third.take(port)
    second.release()
    assert third.take(port)
    third.release()


_TAKES = "from pipeline.adapters.local.network import reserved; ours = reserved(1); print(*ours.__enter__(), flush=True); input()"


def test_a_promise_ends_with_the_process_that_has_it() -> None:
    """Until then no other is given the port, though nobody listens there; kill -9 leaves nothing behind that keeps it."""
    with reserved(2) as (one, other), subprocess.Popen([sys.executable, "-c", _TAKES], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = int(process.stdout.readline())
        asking = Reservations()
        assert len({one, other, theirs}) == 3
        assert all(is_free(port) and not asking.take(port) for port in (one, other, theirs))
        process.kill()
        process.wait()
        assert asking.take(theirs)
        asking.release()


def test_a_port_that_peers_are_set_up_for_may_not_move(reservations: Reservations) -> None:
    """With external servers a taken gateway port is an error that names the port, not a silent move."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(StackError, match=str(port)):
            ports.choose({"gateway-dicom": Usual("127.0.0.1", port)}, {}, reservations, may_move=False)


def test_children_get_the_settings_by_environment(tmp_path: Path, reservations: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child reads from its environment is what the supervisor meant: no Triton is null, SASL of elsewhere is gone."""
    monkeypatch.setenv("READFIRST_KAFKA__SASL_USERNAME", "somebody")
    monkeypatch.setenv("READFIRST_TRITON__URL", "elsewhere:8001")
    monkeypatch.setenv("READFIRST_TRITON__DEADLINE_S", "0.7")
    (tmp_path / "postgres.password").write_text("secret")
    base = Settings(data=tmp_path, site_key=SecretStr("ab" * 32))
    chosen = ports.choose(ports.usual(base, SERVERS, ROLES), {}, reservations)
    meant = ports.apply(base, chosen, ["kafka", "postgres"])
    for name in [name for name in os.environ if name.startswith("READFIRST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("READFIRST_TRITON__DEADLINE_S", "0.7")
    for name, value in environment(meant).items():
        monkeypatch.setenv(name, value)
    read = Settings()
    assert read.triton.url is None
    assert read.triton.deadline_s == 0.7
    assert read.kafka.bootstrap_servers == f"127.0.0.1:{chosen['kafka']['port']}"
    assert read.postgres.dsn.get_secret_value() == f"postgresql://readfirst:secret@127.0.0.1:{chosen['postgres']['port']}/readfirst"
    assert (read.gateways.mllp_port, read.web.port) == (chosen["gateway-hl7"]["port"], chosen["web"]["port"])
    assert read.site_key == meant.site_key


def test_external_servers_are_passed_on_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--external` the roles reach Kafka with the person's own SASL and TLS settings."""
    monkeypatch.setenv("READFIRST_KAFKA__BOOTSTRAP_SERVERS", "broker:9093")
    monkeypatch.setenv("READFIRST_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("READFIRST_KAFKA__SASL_PASSWORD", "secret")
    meant = ports.apply(Settings(data=tmp_path), {}, [])
    for name, value in environment(meant, local=False).items():
        monkeypatch.setenv(name, value)
    kafka: Kafka = Settings().kafka
    assert (kafka.bootstrap_servers, kafka.security_protocol) == ("broker:9093", "SASL_SSL")
    assert kafka.sasl_password is not None and kafka.sasl_password.get_secret_value() == "secret"


@pytest.mark.parametrize(("servers", "name"), [(SERVERS, "agent-context"), ((), None)])
def test_only_on_its_own_kafka_is_an_agent_a_static_member(tmp_path: Path, servers: Sequence[str], name: str | None) -> None:
    """Killed and started again it takes over at once; on a shared cluster another stack's agent of the same name would be fenced off."""
    (tmp_path / "postgres.password").write_text("secret")
    base, reservations = Settings(data=tmp_path), Reservations(tmp_path / "ports")
    chosen = ports.choose(ports.usual(base, servers, ROLES), {}, reservations)
    reservations.release()
    parts = Table(Folders(tmp_path), base, chosen, servers, (), ROLES, lambda role: [role]).parts(None)
    (agent,) = (part for part in parts if part.name == "agent-context")

    assert agent.launch().env.get("READFIRST_KAFKA__GROUP_INSTANCE_ID") == name


async def test_a_heartbeat_beats_until_stopped(tmp_path: Path) -> None:
    """The file is there while the role works, tells who and where, and goes when it stops."""
    file = tmp_path / "web.ready"
    beats = Heartbeat("web", "http://127.0.0.1:8080", file)
    beats.start()
    beats.start()
    await asyncio.sleep(0.01)
    beat = heartbeat.read(file)
    assert beat is not None
    assert (beat.pid, beat.role, beat.address) == (os.getpid(), "web", "http://127.0.0.1:8080")
    assert beat.age_s < heartbeat.STALE_AFTER_S
    beats.stop()
    await asyncio.sleep(0.01)
    assert heartbeat.read(file) is None


def test_without_its_variable_a_heartbeat_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role started by hand writes no file."""
    monkeypatch.delenv(heartbeat.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    Heartbeat("web").once()
    assert list(tmp_path.iterdir()) == []


def test_three_old_logs_are_kept(tmp_path: Path) -> None:
    """The youngest is .1; the fourth falls away; an empty log is not worth keeping."""
    log = tmp_path / "web.log"
    for run in range(6):
        log.write_text(str(run))
        rotate(log)
    log.write_text("")
    rotate(log)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "web.log": "",
        "web.log.1": "5",
        "web.log.2": "4",
        "web.log.3": "3",
    }


def test_a_log_that_grows_too_large_is_put_aside(tmp_path: Path) -> None:
    """Nothing of it is lost, and its writer goes on in the same file."""
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        shorten(log, limit=100)
        assert log.stat().st_size == 100
        writer.write(b"x")
        shorten(log, limit=100)
        writer.write(b"new")
    assert log.read_bytes() == b"new"
    assert (tmp_path / "web.log.1").read_bytes() == b"x" * 101


def test_the_state_reads_back_and_the_dead_are_seen(tmp_path: Path) -> None:
    """A state file of a supervisor that is gone shows everything stopped; a pid reused by another process is not ours."""
    folders = Folders(tmp_path)
    folders.make()
    ours = Identity.of(os.getpid())
    part = PartState("web", "role", State.HEALTHY, identity=ours, address="http://127.0.0.1:8080")
    written = StackState(ours, False, {"web": {"usual": 8080, "port": 8081}}, [part])
    state.write(folders, written)
    assert state.read(tmp_path) == written
    assert state.status(tmp_path).healthy
    reused = Identity(ours.pid, ours.started - 100)
    assert reused.process() is None
    state.write(folders, StackState(reused, False, {}, [part]))
    assert [row.state for row in state.status(tmp_path).parts] == [State.STOPPED]
    folders.state_file.write_text("{ torn")
    assert state.read(tmp_path) == StackState()


def test_a_stacks_settings_are_those_it_was_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits, prefixes and zones of the stack, whatever the shell that asks has; no secret is written down, the shell's is used."""
    kafka = Kafka(topic_prefix="ours.", sasl_password=SecretStr("hush"))
    started = Settings(kafka=kafka, gateways=Gateways(dead_letters_max=7), site_file=Path("site.yaml"), site_key=SecretStr("hush"))
    folders = Folders(tmp_path)
    folders.make()
    state.write(folders, StackState(settings=started.told()))
    assert "hush" not in folders.state_file.read_text()

    monkeypatch.setenv("READFIRST_GATEWAYS__DEAD_LETTERS_MAX", "99")
    monkeypatch.setenv("READFIRST_GATEWAYS__HTTP_PORT", "99")
    monkeypatch.setenv("READFIRST_MODELS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("READFIRST_KAFKA__SASL_PASSWORD", "shell")
    found = settings_of(tmp_path)
    assert (found.gateways.http_port, found.models_dir) == (started.gateways.http_port, tmp_path / "models")
    assert (found.gateways.dead_letters_max, found.kafka.topic_prefix, found.site_file) == (7, "ours.", Path.cwd() / "site.yaml")
    assert found.kafka.sasl_password == SecretStr("shell")


def test_in_a_container_the_settings_name_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no stack runs, commands reach what the settings name; where they name nothing, or another folder is meant, that is said."""
    monkeypatch.setenv("READFIRST_DATA", str(tmp_path))
    monkeypatch.setenv("READFIRST_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    with pytest.raises(StackError, match="no stack runs"):
        running_settings(None)
    monkeypatch.setenv("READFIRST_POSTGRES__DSN", "postgresql://there/readfirst")
    assert running_settings(None).kafka.bootstrap_servers == "broker:9092"
    with pytest.raises(StackError, match="no stack runs"):
        running_settings(tmp_path)


def test_a_folder_we_may_not_write_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """A data folder that cannot be made is said plainly."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot write to the data folder") as refused:
        Folders(tmp_path / "file" / "data").make()
    assert "--data" in refused.value.remedy
