"""Looks at pictures in this process with onnxruntime: the second choice when Triton is away, the first where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.session import opened
from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.domain.image_answer import HeadReference
from pipeline.errors import Unavailable
from pipeline.ports import Looked, Picture

INPUT = "image"
FINDINGS, UNLIKENESS, ACTIVATION, FEATURES, SPREAD = OUTPUTS = ("findings", "unlikeness", "activation", "features", "spread")
ASKED = (FINDINGS, UNLIKENESS, ACTIVATION)
"""What an answer about a picture is made of; SPREAD too, where the head's description says that it has it."""
MOST_PICTURES = 16
"""Asked at once: a larger batch is asked in parts, so that memory stays bounded."""


class OnnxHead:
    """The session of one head."""

    def __init__(self, head: heads.Head, threads: int = 1) -> None:
        """Raises StackError."""
        self.reference = head.reference
        self._session = opened(head.onnx, threads)

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str] = (FINDINGS, UNLIKENESS)) -> list[NDArray[np.float32]]:
        """The named outputs for [n, side, side]; n of 1 or more."""
        starts = range(0, len(pictures), MOST_PICTURES)
        parts = [self._session.run(list(outputs), {INPUT: pictures[start : start + MOST_PICTURES]}) for start in starts]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    @property
    def asked(self) -> tuple[str, ...]:
        """The outputs that an answer about a picture is made of."""
        return asked_of(self.reference)

    def shape(self, output: str) -> tuple[int, ...]:
        """Of that output for one picture, as the graph declares it."""
        return next(tuple(one.shape[1:]) for one in self._session.get_outputs() if one.name == output)


class OnnxImageModel:
    """ImageModel. The head is loaded at the first request, and again when another folder is served."""

    def __init__(self, served: Callable[[], Path], measured_as: str = "onnxruntime") -> None:
        """served: the head's folder, asked before each request. measured_as: as of OnnxScorer."""
        self._measured_as = measured_as
        self._served = served
        self._loaded: tuple[Path, OnnxHead] | None = None

    @property
    def _model(self) -> OnnxHead:
        folder = self._served()
        if self._loaded is None or self._loaded[0] != folder:
            self._loaded = folder, OnnxHead(heads.load_from(folder))
        return self._loaded[1]

    async def look(self, pictures: Sequence[Picture]) -> Sequence[Looked]:
        """As ImageModel.look; runs in a thread. Whatever goes wrong is Unavailable."""
        try:
            with METRICS.answered("readfirst_scorer_seconds", {"scorer": self._measured_as}):
                return await asyncio.to_thread(self._look, pictures) if pictures else []
        except Exception as error:
            raise Unavailable(f"the image model in this process did not answer: {type(error).__name__} {error}") from error

    def _look(self, pictures: Sequence[Picture]) -> list[Looked]:
        model = self._model
        return looked(model.reference.version, *model.run(np.stack(pictures), model.asked))


def asked_of(reference: HeadReference) -> tuple[str, ...]:
    """The outputs of a head's graph that an answer is made of."""
    return (*ASKED, SPREAD) if reference.spread else ASKED


def looked(
    version: str,
    findings: NDArray[np.floating],
    unlikeness: NDArray[np.floating],
    activation: NDArray[np.floating],
    spread: NDArray[np.floating] | None = None,
) -> list[Looked]:
    """The graph's outputs, picture by picture."""
    maps = [tuple(tuple(one.ravel().tolist()) for one in each) for each in activation]
    spreads = [()] * len(findings) if spread is None else [tuple(map(float, one)) for one in spread]
    rows = zip(findings, unlikeness, maps, spreads, strict=True)
    return [Looked(version, tuple(map(float, chances)), float(far[0]), places, told) for chances, far, places, told in rows]
