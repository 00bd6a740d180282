"""Asks Triton's image model over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from pipeline.adapters.onnx.pictures import ASKED, INPUT, SPREAD, looked
from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.adapters.triton.scorer import CHANNEL
from pipeline.errors import Unavailable
from pipeline.ports import Looked, Picture

MAX_BATCH = 8
"""The model's max_batch_size in Triton's repository: an activation map a picture takes memory."""


class TritonImageModel:
    """ImageModel. The client is made inside the running loop at the first request; one for the process."""

    def __init__(self, url: str, model: str, deadline_s: float, priority: int = 2) -> None:
        self._url = url
        self._model = model
        self._deadline_s = deadline_s
        self._priority = priority

    @cached_property
    def _client(self) -> InferenceServerClient:
        return InferenceServerClient(self._url, channel_args=CHANNEL)

    async def look(self, pictures: Sequence[Picture]) -> Sequence[Looked]:
        """As ImageModel.look. Whatever goes wrong is Unavailable."""
        parts = [pictures[start : start + MAX_BATCH] for start in range(0, len(pictures), MAX_BATCH)]
        try:
            async with asyncio.timeout(self._deadline_s * max(1, len(parts))):
                with METRICS.answered("readfirst_scorer_seconds", {"scorer": "triton"}), TRACING.step("triton"):
                    answers = [await self._infer(part) for part in parts]
        except Exception as error:
            raise Unavailable(f"Triton at {self._url} did not look: {type(error).__name__} {error}") from error
        return [one for answer in answers for one in answer]

    async def close(self) -> None:
        """Ends the connection."""
        if "_client" in self.__dict__:
            await self._client.close()

    async def _infer(self, pictures: Sequence[Picture]) -> list[Looked]:
        stacked = np.stack(pictures)
        question = InferInput(INPUT, list(stacked.shape), "UINT8")
        question.set_data_from_numpy(stacked)
        # All that the version declares: which one answers, and whether it tells its spread, is known by the answer alone.
        answer = await self._client.infer(
            self._model,
            [question],
            priority=self._priority,
            client_timeout=self._deadline_s,
            headers=TRACING.context(),
        )
        version = answer.get_response().model_version
        findings, unlikeness, activation = (np.asarray(answer.as_numpy(name)) for name in ASKED)
        return looked(version, findings, unlikeness, activation, answer.as_numpy(SPREAD))
