"""Runs the ONNX file beside it inside Triton's python backend, which only Triton's own Python environment can import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb  # type: ignore[import-not-found]


class TritonPythonModel:
    """The class that Triton looks for. Inputs (some may be optional) and outputs are those that the model's configuration names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the version that Triton asks for."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns of every input that has a default
        config = json.loads(args["model_config"])
        self._inputs = [one["name"] for one in config["input"]]
        self._outputs = [output["name"] for output in config["output"]]
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Those of a batch that give the same inputs in one run, each answered with its own rows and the outputs that it wants."""
        alike: dict[tuple[str, ...], list[tuple[Any, dict[str, Any]]]] = {}
        for request in requests:
            given = {name: one.as_numpy() for name in self._inputs if (one := pb.get_input_tensor_by_name(request, name)) is not None}
            alike.setdefault(tuple(given), []).append((request, given))
        answers = {id(request): answer for part in alike.values() for request, answer in self._run(part)}
        return [answers[id(request)] for request in requests]

    def _run(self, asked: list[tuple[Any, dict[str, Any]]]) -> list[tuple[Any, Any]]:
        names = asked[0][1]
        answers = self._session.run(self._outputs, {name: np.concatenate([given[name] for _, given in asked]) for name in names})
        ends = np.cumsum([len(given[self._inputs[0]]) for _, given in asked])[:-1]
        parts = zip(*(np.split(answer, ends) for answer in answers), strict=True)
        return [(request, self._answer(request, rows)) for (request, _), rows in zip(asked, parts, strict=True)]

    def _answer(self, request: Any, rows: Any) -> Any:
        wanted = request.requested_output_names()
        named = zip(self._outputs, rows, strict=True)
        return pb.InferenceResponse([pb.Tensor(name, part) for name, part in named if name in wanted])
