"""Triton's own Python environment: the nvidia-pytriton wheel needs numpy < 2, so it lives apart from Readfirst's packages.

Made at first start from a hash-pinned list, kept in the user's cache folder under the list's own hash.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.local.folders import cache_dir, exclusive
from pipeline.errors import StackError

REQUIREMENTS = Path(__file__).with_name("triton-requirements.txt")
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class TritonUnavailable(StackError):
    """Triton cannot run on this machine; everything else can: scores are computed in-process instead."""


@dataclass(frozen=True)
class TritonEnvironment:
    """A made environment."""

    folder: Path

    @property
    def site_packages(self) -> Path:
        """Where the wheels are unpacked."""
        return self.folder / "lib" / f"python{_PYTHON}" / "site-packages"

    @property
    def server(self) -> Path:
        """The `tritonserver` binary."""
        return self.site_packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """The backend folder: the python backend with the stub that fits this Python."""
        return self.folder / "backends"

    def variables(self) -> dict[str, str]:
        """What the server and its Python stubs find their libraries by."""
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": f"{self.site_packages / 'nvidia_pytriton.libs'}:{libpython().parent}",
            "PYTHONPATH": str(self.site_packages),
            "PYTHONHOME": sys.base_prefix,
            "HOME": str(Path.home()),
        }


def folder() -> Path:
    """Where the environment of these requirements, this Python is kept."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.base_prefix.encode()).hexdigest()[:16]
    return cache_dir() / f"triton-{_PYTHON}-{key}"


def libpython() -> Path:
    """The shared library that the python backend's stub needs; TritonUnavailable if this Python was built without one."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    for place in (Path(sys.base_prefix) / "lib", Path(sysconfig.get_config_var("LIBDIR") or "/"), Path("/usr/lib/x86_64-linux-gnu")):
        if ".so" in name and (place / name).exists():
            return place / name
    remedy = f"use a Python with a shared library, such as uv's own, or install libpython{_PYTHON}"
    raise TritonUnavailable(f"this Python ({sys.base_prefix}) has no libpython{_PYTHON}.so for Triton's python backend", remedy)


def check_platform() -> None:
    """TritonUnavailable where the wheel does not exist."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise TritonUnavailable(
            f"there is no Triton wheel for {sys.platform} {platform.machine()} (only Linux x86-64)",
            "nothing need be done: scores are computed in-process",
        )
    libpython()


def ensure(progress: Callable[[str, str], None]) -> TritonEnvironment:
    """The environment, made first if need be."""
    check_platform()
    place = folder()
    with exclusive(place.with_name(f"{place.name}.lock")):
        if not place.is_dir():
            progress("triton", "installing Triton into an environment of its own (90 MB)")
            _make(place)
    return TritonEnvironment(place)


def _make(place: Path) -> None:
    """Make it beside its place and move it there when whole."""
    environment = TritonEnvironment(place.with_name(f"{place.name}.partial"))
    shutil.rmtree(environment.folder, ignore_errors=True)
    for command in _commands(environment.folder):
        _run(command)
    _collect_python_backend(environment)
    environment.folder.replace(place)


def _commands(target: Path) -> list[list[str]]:
    """With uv if it is there (a second), else with venv and pip (some ten)."""
    hashed = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)]
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        return [
            [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(target)],
            [uv, "pip", "install", "--quiet", "--python", str(target / "bin" / "python"), *hashed],
        ]
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    return [[sys.executable, "-m", "venv", str(target)], [*pip, *hashed]]


def _run(command: list[str]) -> None:
    # The virtual environment we run in must not draw the installation into itself.
    environment = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
    if done.returncode != 0:
        raise TritonUnavailable(
            f"could not install Triton: {(done.stderr or done.stdout).strip()[-600:]}",
            "check the network, then start again; until then scores are computed in-process",
        )


def _collect_python_backend(environment: TritonEnvironment) -> None:
    """Put the backend and the stub of this Python into the one folder where Triton looks for them."""
    shipped = environment.site_packages / "pytriton" / "tritonserver"
    stub = shipped / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub"
    if not stub.exists():
        raise TritonUnavailable(f"the Triton wheel has no python backend for Python {_PYTHON}", "use Python 3.11 or 3.12")
    backend = environment.backends / "python"
    shutil.copytree(shipped / "backends" / "python", backend)
    shutil.copy2(stub, backend / stub.name)
    for program in (backend / stub.name, environment.server):
        program.chmod(0o755)
