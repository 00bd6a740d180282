"""Scores in this process with onnxruntime: the second choice when Triton is away, the first where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.adapters.onnx import artefact
from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.domain import features
from pipeline.domain.model_answer import OUTPUTS, Answer, risks
from pipeline.errors import Unavailable
from pipeline.ports import Clock
from schemas.assessments import AssessRequest, Risk

MOST_ROWS = 256
"""Rows asked at once: a larger batch is asked in parts, so that memory stays bounded."""


class OnnxModel:
    """The session of one artefact; one thread, since the worker has other things to do."""

    def __init__(self, source: artefact.Artefact) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns of every input that has a default, and a fine-tuned version's all have but one
        self.reference = source.reference
        self._session = ort.InferenceSession(source.onnx, options, providers=["CPUExecutionProvider"])

    def run(self, x: NDArray[np.float32]) -> Answer:
        """Of features [n, len(features.NAMES)]; n of 1 or more."""
        parts = [self._session.run(OUTPUTS, {"features": x[start : start + MOST_ROWS]}) for start in range(0, len(x), MOST_ROWS)]
        return Answer(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class OnnxScorer:
    """Scorer. The model is loaded at the first request, and again when another folder is served."""

    def __init__(self, clock: Clock, served: Callable[[], Path] = lambda: artefact.SHIPPED) -> None:
        """served: the artefact's folder, asked before each request."""
        self._clock = clock
        self._served = served
        self._loaded: tuple[Path, OnnxModel] | None = None

    @property
    def _model(self) -> OnnxModel:
        folder = self._served()
        if self._loaded is None or self._loaded[0] != folder:
            self._loaded = folder, OnnxModel(artefact.load(folder))
        return self._loaded[1]

    async def score(self, requests: Sequence[AssessRequest]) -> Sequence[Risk]:
        """As Scorer.score; runs in a thread, so that the event loop keeps its heartbeats. Whatever goes wrong is Unavailable."""
        if not requests:
            return []
        with METRICS.answered("readfirst_scorer_seconds", {"scorer": "onnxruntime"}):
            return await asyncio.to_thread(self._score, requests)

    def _score(self, requests: Sequence[AssessRequest]) -> list[Risk]:
        try:
            model = self._model
            answer = model.run(features.matrix([request.features for request in requests]))
            return risks(requests, answer, model.reference, "onnxruntime", self._clock.now())
        except Exception as error:
            raise Unavailable(f"the model in this process did not score: {type(error).__name__} {error}") from error
