"""A fork is to its parent and to itself what a process started in the usual way is."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.adapters.local.fork_server import ForkServer
from pipeline.adapters.local.process import Child, Launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")
_MODULE = """
import os, sys, time
own_session, imported = os.getsid(0) == os.getpid(), "json" in sys.modules
print(os.getppid(), own_session, imported, sys.argv[1:], os.environ.get("HERE"), "PATH" in os.environ, flush=True)
if sys.argv[1] == "sleep":
    time.sleep(60)
sys.exit(3)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ForkServer, Child]]:
    """With one module imported, and another to run on its path."""
    (tmp_path / "forked_module.py").write_text(_MODULE)
    made = ForkServer(["json"], tmp_path / "server.log", {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.getcwd()}"})
    child = Child(made.launch())
    while not made.ready():
        assert child.exit_code() is None, (tmp_path / "server.log").read_text()
        time.sleep(0.02)
    yield made, child
    child.stop()
    made.close()


def launch(folder: Path, what: str) -> Launch:
    """The module, told what to do."""
    return Launch([sys.executable, "-m", "forked_module", what], folder / f"{what}.log", {"HERE": "yes"})


def test_a_fork_is_a_process_like_another(server: tuple[ForkServer, Child], tmp_path: Path) -> None:
    """Our own child in a session of its own, with its arguments, its environment and no other, its log and its exit code."""
    child = Child(launch(tmp_path, "end"), server[0].fork)
    assert child.wait(60)
    assert child.exit_code() == 3
    assert (tmp_path / "end.log").read_text() == f"{os.getpid()} True True ['end'] yes False\n"


def test_a_fork_can_be_killed_and_stopped(server: tuple[ForkServer, Child], tmp_path: Path) -> None:
    """The code of a signal is its negative number, as subprocess has it."""
    killed, stopped = (Child(launch(tmp_path, "sleep"), server[0].fork) for _ in range(2))
    assert psutil.Process(killed.pid).cmdline()[0].endswith(" -m forked_module sleep"), "as it is called in a list of processes"
    killed.signal(signal.SIGKILL)
    assert killed.wait(60)
    assert killed.exit_code() == -signal.SIGKILL
    stopped.stop(60.0)
    assert stopped.exit_code() == -signal.SIGTERM


def test_without_its_server_a_process_starts_the_long_way(server: tuple[ForkServer, Child], tmp_path: Path) -> None:
    """A dead server is found out when it is asked; what is no Python module was never its business."""
    forks, process = server
    assert forks.fork(Launch(["/bin/true"], tmp_path / "true.log")) is None
    process.signal(signal.SIGKILL)
    process.wait(60)
    assert forks.fork(launch(tmp_path, "end")) is None
