"""An ONNX file as its description has it, or a refusal."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.errors import StackError

MODEL_FILE = "model.onnx"


def read(folder: Path, sha256: str, described_in: str, remedy: str) -> bytes:
    """The bytes of the folder's model. Raises StackError when they are missing, or not those that `described_in` describes."""
    file = folder / MODEL_FILE
    try:
        onnx = file.read_bytes()
    except OSError as error:
        raise StackError(f"the model file {file} cannot be read", remedy) from error
    if (found := hashlib.sha256(onnx).hexdigest()) != sha256:
        raise StackError(f"{file} is not the file that its {described_in} describes: SHA-256 {found}, not {sha256}", remedy)
    return onnx
