"""A trained model as it lies on disk: the ONNX file and the reference beside it, checked against each other and against this code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.adapters.onnx import weights
from pipeline.domain import drift, features, model_inputs
from pipeline.domain.model_answer import ModelReference
from pipeline.errors import StackError

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "clinical" / "artefact"
"""The clinical risk model that comes with Readfirst."""

REFERENCE_FILE = "reference.json"
DISTRIBUTION_FILE = "distribution.json"
_REMEDY = "install Readfirst again, or train the model: readfirst train --help"


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model that this code can ask."""

    reference: ModelReference
    onnx: bytes


def load(folder: Path = SHIPPED) -> Artefact:
    """Raises StackError when a file is missing or damaged, or when the model was trained on another layout of features."""
    reference = load_reference(folder)
    return Artefact(reference, weights.read(folder, reference.sha256, REFERENCE_FILE, _REMEDY))


def load_distribution(folder: Path = SHIPPED) -> drift.Reference | None:
    """What the model was made on; None where nobody kept it. Raises StackError."""
    try:
        return msgspec.json.decode((folder / DISTRIBUTION_FILE).read_bytes(), type=drift.Reference)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"{folder / DISTRIBUTION_FILE} cannot be read: {error}", _REMEDY) from error


def load_reference(folder: Path = SHIPPED) -> ModelReference:
    """What is known of the model, without its weights. Raises StackError."""
    try:
        reference = msgspec.json.decode((folder / REFERENCE_FILE).read_bytes(), type=ModelReference)
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"{folder / REFERENCE_FILE} cannot be read: {error}", _REMEDY) from error
    groups = features.GROUPS, (*features.GROUPS, *model_inputs.groups(reference))
    known = reference.groups in groups  # those that a site made before its own inputs were told apart have the features' alone
    if not known or (reference.layout, reference.features) != (features.LAYOUT_VERSION, features.NAMES):
        raise StackError(f"the model in {folder} is of feature layout {reference.layout}, not {features.LAYOUT_VERSION}", _REMEDY)
    return reference
