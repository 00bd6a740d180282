"""The image heads as they lie on disk, one folder each: head.json, model.onnx, CARD.md, metrics.json, acceptance.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.adapters.onnx import weights
from pipeline.domain.image_answer import HeadReference
from pipeline.errors import StackError

HEADS = Path(__file__).resolve().parents[2] / "models" / "heads"
"""The heads that come with Readfirst. A folder's name is its head's, as `domain.image_heads.SCOPES` names it."""
REFERENCE_FILE = "head.json"
_REMEDY = "install Readfirst again, or train the head: readfirst train imaging --help"


@dataclass(frozen=True, slots=True)
class Head:
    """A head that this code can ask."""

    reference: HeadReference
    onnx: bytes


def load(head: str, folder: Path = HEADS) -> Head:
    """Raises StackError when a file is missing, damaged or another head's."""
    reference = load_reference(head, folder)
    return Head(reference, weights.read(folder / head, reference.sha256, REFERENCE_FILE, _REMEDY))


def load_reference(head: str, folder: Path = HEADS) -> HeadReference:
    """What is known of the head, without its weights. Raises StackError."""
    file = folder / head / REFERENCE_FILE
    try:
        reference = msgspec.json.decode(file.read_bytes(), type=HeadReference)
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"{file} cannot be read: {error}", _REMEDY) from error
    if reference.head != head:
        raise StackError(f"{file} describes the head {reference.head!r}", _REMEDY)
    return reference


def names(folder: Path = HEADS) -> list[str]:
    """The heads that are there."""
    return sorted(path.parent.name for path in folder.glob(f"*/{REFERENCE_FILE}"))
