"""What Triton serves: its repository as a site has it, and a change of version that costs no request."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.triton import control
from pipeline.errors import Unavailable
from pipeline.models import triton_heads, triton_repository
from pipeline.models.triton_repository import Flavour


def build_repository(repository: Path, flavour: Flavour, models: Path | None = None) -> None:
    """Every model that Triton serves: the clinical one in the version of this site (`models`: its folder of versions; None: as shipped),
    and the image heads. Raises StackError for a damaged one."""
    versions = ModelVersions(models, artefact.load_reference().model) if models is not None else None
    triton_repository.build(repository, flavour, versions.served() if versions is not None else artefact.SHIPPED)
    triton_heads.build(repository, flavour)


def serve(folder: Path, before: Path, repository: Path, url: str, flavour: Flavour = "cpu") -> None:
    """Triton answers with the artefact in `folder` when this returns, and with the one in `before` when it raises Unavailable.

    Requests that come meanwhile are answered by the old version: Triton takes it away when the new one is ready.
    """
    wanted = artefact.load_reference(folder)
    triton_repository.build(repository, flavour, folder)
    try:
        control.load(url, wanted.model)
        answers = control.version(url, wanted.model)
        if answers != wanted.version:
            raise Unavailable(f"Triton answers with version {answers or 'none'}, not {wanted.version}")
    except BaseException:
        triton_repository.build(repository, flavour, before)
        control.load(url, wanted.model)
        raise
