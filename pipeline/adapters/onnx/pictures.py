"""Looks at pictures in this process with onnxruntime: the second choice when Triton is away, the first where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.adapters.onnx import heads
from pipeline.errors import Unavailable
from pipeline.ports import Looked, Picture

INPUT = "image"
FINDINGS, UNLIKENESS, ACTIVATION, FEATURES = OUTPUTS = ("findings", "unlikeness", "activation", "features")
MOST_PICTURES = 16
"""Asked at once: a larger batch is asked in parts, so that memory stays bounded."""


class OnnxHead:
    """The session of one head."""

    def __init__(self, head: heads.Head, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.reference = head.reference
        self._session = ort.InferenceSession(head.onnx, options, providers=["CPUExecutionProvider"])

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str] = (FINDINGS, UNLIKENESS)) -> list[NDArray[np.float32]]:
        """The named outputs for [n, side, side]; n of 1 or more."""
        starts = range(0, len(pictures), MOST_PICTURES)
        parts = [self._session.run(list(outputs), {INPUT: pictures[start : start + MOST_PICTURES]}) for start in starts]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


class OnnxImageModel:
    """ImageModel. The head is loaded at the first request."""

    def __init__(self, head: str, folder: Path = heads.HEADS) -> None:
        self._head = head
        self._folder = folder

    @cached_property
    def _model(self) -> OnnxHead:
        return OnnxHead(heads.load(self._head, self._folder))

    async def look(self, pictures: Sequence[Picture]) -> Sequence[Looked]:
        """As ImageModel.look; runs in a thread. Whatever goes wrong is Unavailable."""
        try:
            return await asyncio.to_thread(self._look, pictures) if pictures else []
        except Exception as error:
            raise Unavailable(f"the image model in this process did not answer: {type(error).__name__} {error}") from error

    def _look(self, pictures: Sequence[Picture]) -> list[Looked]:
        return looked(*self._model.run(np.stack(pictures)))


def looked(findings: NDArray[np.floating], unlikeness: NDArray[np.floating]) -> list[Looked]:
    """The graph's outputs, picture by picture."""
    return [Looked(tuple(map(float, row)), float(far[0])) for row, far in zip(findings, unlikeness, strict=True)]
