"""Scores in this process with onnxruntime: the second choice when Triton is away, the first where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.asking import SCORE, Patience, by_order, films_for, highest
from pipeline.adapters.onnx.session import opened
from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.domain import features, model_inputs
from pipeline.domain.model_answer import OUTPUTS, Answer, ModelReference, risks
from pipeline.domain.model_inputs import Films
from pipeline.errors import Unavailable
from pipeline.ports import Clock, FilmSource
from schemas.assessments import AssessRequest, Risk

MOST_ROWS = 256
"""Rows asked at once: a larger batch is asked in parts, so that memory stays bounded."""
MOST_FILMS = 1
"""The same of rows with a film: 24 of them one by one take 0.7 s and 40 MiB, in parts of 16 1.3 s and 350 MiB, which a session keeps."""
NOTHING: Mapping[str, NDArray[Any]] = {}
_NO_FILMS: Films = {}


class OnnxModel:
    """The session of one artefact."""

    def __init__(self, source: artefact.Artefact) -> None:
        """Raises StackError."""
        self.reference = source.reference
        self._session = opened(source.onnx)

    def run(self, x: NDArray[np.float32], further: Mapping[str, NDArray[Any]] = NOTHING) -> Answer:
        """Of features [n, len(features.NAMES)], n of 1 or more; further: other inputs that the reference declares, with as many rows."""
        asked, most = {"features": x, **further}, MOST_FILMS if "image" in further else MOST_ROWS
        starts = range(0, len(x), most)
        parts = [self._session.run(OUTPUTS, {name: rows[start : start + most] for name, rows in asked.items()}) for start in starts]
        return Answer(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class OnnxScorer:
    """Scorer. The model is loaded at the first request, and again when another folder is served."""

    def __init__(
        self,
        clock: Clock,
        served: Callable[[], Path] = lambda: artefact.SHIPPED,
        films: FilmSource | None = None,
        patience: Patience = SCORE,
        measured_as: str = "onnxruntime",
    ) -> None:
        """served: the artefact's folder, asked before each request. films: for a version that reads them. measured_as: the label of its
        metric: who asks beside the live scoring is not to look like its second choice."""
        self._patience = patience
        self._clock = clock
        self._served = served
        self._films = films
        self._measured_as = measured_as
        self._reference = cache(artefact.load_reference)
        self._loaded: tuple[Path, OnnxModel] | None = None

    @property
    def _model(self) -> OnnxModel:
        folder = self._served()
        if self._loaded is None or self._loaded[0] != folder:
            self._loaded = folder, OnnxModel(artefact.load(folder))
        return self._loaded[1]

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score; runs in a thread, so that the event loop keeps its heartbeats. Whatever goes wrong is Unavailable."""
        if not requests:
            return []
        with METRICS.answered("readfirst_scorer_seconds", {"scorer": self._measured_as}):
            films: Films = {}
            if look and self._films is not None:
                films = await films_for(requests, self._described(), self._films, self._patience)
            return await asyncio.to_thread(self._score, requests, films)

    def _described(self) -> ModelReference:
        try:
            return self._reference(self._served())
        except Exception as error:
            raise Unavailable(f"the model in this process cannot be read: {type(error).__name__} {error}") from error

    def _score(self, requests: Sequence[AssessRequest], films: Films = _NO_FILMS) -> list[Risk]:
        """Those with a film apart from the others, who then need none looked at."""
        try:
            model = self._model
            asked = [by_order(request, model.reference) for request in requests]
            every = [one for each in asked for one in each]
            found: dict[int, Risk] = {}
            for seen in (True, False):
                part = [one for one in every if (model_inputs.film_of(one, model.reference, films) is not None) == seen]
                if part:
                    answer = model.run(features.matrix([one.features for one in part]), model_inputs.arrays(part, model.reference, films))
                    told = risks(part, answer, model.reference, "onnxruntime", self._clock.now(), films=films)
                    found |= {id(one): risk for one, risk in zip(part, told, strict=True)}
            return highest(asked, [found[id(one)] for one in every])
        except Exception as error:
            raise Unavailable(f"the model in this process did not score: {type(error).__name__} {error}") from error
