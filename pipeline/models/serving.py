"""What Triton serves: its repository as a site has it, and a change of version that costs no request."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.adapters.onnx import artefact, heads
from pipeline.adapters.onnx.registry import HeadRegistry
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.triton import control
from pipeline.errors import Unavailable
from pipeline.models import triton_heads, triton_repository
from pipeline.models.triton_repository import Flavour


@contextmanager
def alone(repository: Path) -> Iterator[None]:
    """Within it nobody else changes what Triton serves: Tritons that start on one volume each build it, and so does a promotion."""
    repository.mkdir(parents=True, exist_ok=True)
    with (repository / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_repository(repository: Path, flavour: Flavour, models: Path | None = None) -> None:
    """Every model that Triton serves, and no other: the clinical one and the image heads, in the versions of this site (`models`: its
    folder of versions; None: as shipped), as ModelVersions.in_force. Raises StackError where what ships is damaged.
    """
    clinical = artefact.load_reference().model
    triton_repository.keep_only(repository, {clinical, *heads.names()})
    if models is None:
        triton_repository.build(repository, flavour)
        triton_heads.build(repository, flavour)
        return
    for versions in (ModelVersions(models, clinical), *HeadRegistry(models).versions.values()):
        _build(repository, flavour, versions.in_force())


def serve(folder: Path, before: Path, repository: Path, servers: Sequence[str], flavour: Flavour = "cpu") -> None:
    """Triton answers with the artefact in `folder` when this returns, and with the one in `before` when it raises Unavailable.

    servers: host:port of each Triton that serves `repository`.

    Requests that come meanwhile are answered by the old version: Triton takes it away when the new one is ready.
    """
    model, version = _named(folder)
    _build(repository, flavour, folder)
    try:
        for server in servers:
            control.load(server, model)
            answers = control.version(server, model)
            if answers != version:
                raise Unavailable(f"Triton at {server} answers with version {answers or 'none'}, not {version}")
    except BaseException:
        _build(repository, flavour, before)
        for server in servers:
            with suppress(Unavailable):  # it goes on with what it had; and one that is down starts with what the repository says
                control.load(server, model)
        raise


def is_head(folder: Path) -> bool:
    """Whether an image head lies in `folder`, or else a clinical model."""
    return (folder / heads.REFERENCE_FILE).is_file()


def _named(folder: Path) -> tuple[str, str]:
    if is_head(folder):
        head = heads.reference_in(folder)
        return head.head, head.version
    clinical = artefact.load_reference(folder)
    return clinical.model, clinical.version


def _build(repository: Path, flavour: Flavour, folder: Path) -> None:
    (triton_heads.build_one if is_head(folder) else triton_repository.build)(repository, flavour, folder)
