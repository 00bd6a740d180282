"""Asks Triton over gRPC, each request with its own urgency and within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from pipeline.adapters.onnx import artefact
from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.domain import features
from pipeline.domain.model_answer import OUTPUTS, Answer, ModelReference, risks
from pipeline.errors import Unavailable
from pipeline.ports import Clock
from schemas.assessments import AssessRequest, Risk

MAX_BATCH = 8
"""Rows a request, and max_batch_size on a processor: a row costs no less in a larger batch, and an urgent one would wait for it."""
LOWEST_PRIORITY = 3

CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),  # gRPC's own two minutes would keep the list degraded long after Triton is back
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class TritonScorer:
    """Scorer. The client is made inside the running loop at the first request; one for the process."""

    def __init__(
        self, url: str, model: str, deadline_s: float, clock: Clock, served: Callable[[], Path] = lambda: artefact.SHIPPED
    ) -> None:
        """served: the folder of the artefact that Triton serves, for its outcome and the order of its inputs; asked before each request."""
        self._url = url
        self._model = model
        self._deadline_s = deadline_s
        self._clock = clock
        self._served = served
        self._references: dict[Path, ModelReference] = {}

    @cached_property
    def _client(self) -> InferenceServerClient:
        return InferenceServerClient(self._url, channel_args=CHANNEL)

    @property
    def _reference(self) -> ModelReference:
        folder = self._served()
        if folder not in self._references:
            self._references[folder] = artefact.load_reference(folder)
        return self._references[folder]

    async def score(self, requests: Sequence[AssessRequest]) -> Sequence[Risk]:
        """As Scorer.score. Whatever goes wrong is Unavailable: a broken model must not stop the list."""
        try:
            async with asyncio.timeout(self._deadline_s):
                with METRICS.answered("readfirst_scorer_seconds", {"scorer": "triton"}), TRACING.step("triton"):
                    answers = await asyncio.gather(*(self._infer(part, urgency) for urgency, part in _parts(requests)))
        except Exception as error:
            raise Unavailable(f"Triton at {self._url} did not score: {type(error).__name__} {error}") from error
        found = {id(request): risk for part in answers for request, risk in part}
        return [found[id(request)] for request in requests]

    async def close(self) -> None:
        """Ends the connection."""
        if "_client" in self.__dict__:
            await self._client.close()

    async def _infer(self, requests: Sequence[AssessRequest], urgency: int) -> list[tuple[AssessRequest, Risk]]:
        question = InferInput("features", [len(requests), len(features.NAMES)], "FP32")
        question.set_data_from_numpy(features.matrix([request.features for request in requests]))
        answer = await self._client.infer(
            self._model,
            [question],
            outputs=[InferRequestedOutput(name) for name in OUTPUTS],
            priority=min(max(urgency, 1), LOWEST_PRIORITY),
            timeout=int(self._deadline_s * 1e6),
            client_timeout=self._deadline_s,
            headers=TRACING.context(),
        )
        version = answer.get_response().model_version
        told = Answer(*(np.asarray(answer.as_numpy(name)) for name in OUTPUTS))
        scored = risks(requests, told, self._reference, "triton", self._clock.now(), version)
        return list(zip(requests, scored, strict=True))


def _parts(requests: Sequence[AssessRequest]) -> Iterator[tuple[int, list[AssessRequest]]]:
    """Requests of one urgency, at most MAX_BATCH of them, most urgent first."""
    for urgency, group in groupby(sorted(requests, key=lambda request: request.urgency), key=lambda request: request.urgency):
        same = list(group)
        for start in range(0, len(same), MAX_BATCH):
            yield urgency, same[start : start + MAX_BATCH]
