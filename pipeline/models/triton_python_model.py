"""Runs the ONNX file beside it inside Triton's python backend, which only Triton's own Python environment can import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb  # type: ignore[import-not-found]


class TritonPythonModel:
    """The class that Triton looks for. One input, and the outputs that the model's configuration names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the version that Triton asks for."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        config = json.loads(args["model_config"])
        self._input = config["input"][0]["name"]
        self._outputs = [output["name"] for output in config["output"]]
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """All requests of a batch in one run, each answered with its own rows and the outputs that it wants."""
        questions = [pb.get_input_tensor_by_name(request, self._input).as_numpy() for request in requests]
        answers = self._session.run(self._outputs, {self._input: np.concatenate(questions)})
        ends = np.cumsum([len(question) for question in questions])[:-1]
        parts = zip(*(np.split(answer, ends) for answer in answers), strict=True)
        return [self._answer(request, rows) for request, rows in zip(requests, parts, strict=True)]

    def _answer(self, request: Any, rows: Any) -> Any:
        wanted = request.requested_output_names()
        named = zip(self._outputs, rows, strict=True)
        return pb.InferenceResponse([pb.Tensor(name, part) for name, part in named if name in wanted])
