"""The image heads as they lie on disk, one folder each: head.json, model.onnx, CARD.md, metrics.json, acceptance.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.adapters.onnx import weights
from pipeline.domain import drift
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.image_heads import Scopes
from pipeline.errors import StackError

HEADS = Path(__file__).resolve().parents[2] / "models" / "heads"
"""The heads that come with Readfirst. A folder's name is its head's."""
REFERENCE_FILE, DISTRIBUTION_FILE = "head.json", "distribution.json"
T = TypeVar("T")
_REMEDY = "install Readfirst again, or train the head: readfirst train imaging --help"


@dataclass(frozen=True, slots=True)
class Head:
    """A head that this code can ask."""

    reference: HeadReference
    onnx: bytes


def load(head: str, folder: Path = HEADS) -> Head:
    """Raises StackError when a file is missing, damaged or another head's."""
    load_reference(head, folder)
    return load_from(folder / head)


def load_from(folder: Path) -> Head:
    """The head in `folder`, whichever it is. Raises StackError when a file is missing or damaged."""
    reference = reference_in(folder)
    return Head(reference, weights.read(folder, reference.sha256, REFERENCE_FILE, _REMEDY))


def load_reference(head: str, folder: Path = HEADS) -> HeadReference:
    """What is known of the head, without its weights. Raises StackError."""
    reference = reference_in(folder / head)
    if reference.head != head:
        raise StackError(f"{folder / head / REFERENCE_FILE} describes the head {reference.head!r}", _REMEDY)
    return reference


def reference_in(folder: Path) -> HeadReference:
    """The same of the head in `folder`, whichever it is."""
    return _decoded(folder / REFERENCE_FILE, HeadReference)


def load_distribution(folder: Path) -> drift.Reference | None:
    """What the head in `folder` was made on; None where nobody kept it. Raises StackError."""
    return _decoded(folder / DISTRIBUTION_FILE, drift.Reference) if (folder / DISTRIBUTION_FILE).exists() else None


def _decoded(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"{file} cannot be read: {error}", _REMEDY) from error


def names(folder: Path = HEADS) -> list[str]:
    """The heads that are there."""
    return sorted(path.parent.name for path in folder.glob(f"*/{REFERENCE_FILE}"))


def scopes(folder: Path = HEADS) -> Scopes:
    """What each was made for; a head that does not say it is never asked. Raises StackError for a damaged one."""
    found = {name: load_reference(name, folder).scope for name in names(folder)}
    return {name: scope for name, scope in found.items() if scope is not None}
