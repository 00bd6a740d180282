"""Runs the ONNX file beside it inside Triton's python backend, which only Triton's own Python environment can import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb  # type: ignore[import-not-found]

OUTPUTS = ("risk", "contributions")


class TritonPythonModel:
    """The class that Triton looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the version that Triton asks for."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests of a batch in one run, each answered with its own rows."""
        questions = [pb.get_input_tensor_by_name(request, "features").as_numpy() for request in requests]
        answers = self._session.run(OUTPUTS, {"features": np.concatenate(questions)})
        ends = np.cumsum([len(question) for question in questions])[:-1]
        parts = zip(*(np.split(answer, ends) for answer in answers), strict=True)
        return [pb.InferenceResponse([pb.Tensor(name, part) for name, part in zip(OUTPUTS, rows, strict=True)]) for rows in parts]
