"""Asks Triton over gRPC, each request with its own urgency and within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.grpc.model_config_pb2 import DataType
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.asking import SCORE, by_order, films_for, highest
from pipeline.adapters.telemetry.metrics import METRICS
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.domain import features, model_inputs
from pipeline.domain.model_answer import OUTPUTS, Answer, ModelReference, risks
from pipeline.domain.model_inputs import Films
from pipeline.errors import NotFound, StackError, Unavailable
from pipeline.ports import Clock, FilmSource
from schemas.assessments import AssessRequest, Risk

MAX_BATCH = 8
"""Rows a request, and max_batch_size on a processor: a row costs no less in a larger batch, and an urgent one would wait for it."""
LOWEST_PRIORITY = 3
_LOOKING = 0.9
"""Share of the deadline after which an answer that looks at a film is not waited for any more."""
_VERSIONS_MET = 3
"""Of how many versions the columns are tried for one answer: while one is promoted there are two."""
_REFUSED = "StatusCode.INVALID_ARGUMENT"
"""What Triton says to inputs that its model has not."""

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
        self,
        url: str,
        model: str,
        deadline_s: float,
        clock: Clock,
        served: Callable[[], Path] = lambda: artefact.SHIPPED,
        folder_of: Callable[[str], Path] | None = None,
        films: FilmSource | None = None,
    ) -> None:
        """served: the folder of the artefact that Triton should serve, for its outcome and its inputs; asked before each request.

        folder_of: that of a version, where Triton serves another: while one is promoted, or where it still has one that was damaged or
        lost since. Raises NotFound. films: for a version that reads them.
        """
        self._url = url
        self._model = model
        self._deadline_s = deadline_s
        self._clock = clock
        self._served = served
        self._folder_of = folder_of
        self._films = films
        self._reference = cache(artefact.load_reference)
        self._inputs: Sequence[Any] | None = None
        self._version = ""
        self._met: dict[str, ModelReference] = {}

    @cached_property
    def _client(self) -> InferenceServerClient:
        return InferenceServerClient(self._url, channel_args=CHANNEL)

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score. Whatever goes wrong is Unavailable: a broken model must not stop the list."""
        try:
            reference = self._answered(self._version, self._reference(self._served()))
            # Words are read in a thread, and not in Triton's time: those of a backlog may take longer than its deadline.
            asked = await asyncio.to_thread(lambda: [by_order(request, reference) for request in requests])
            every = [one for each in asked for one in each]
            async with asyncio.timeout(self._deadline_s):
                with METRICS.answered("readfirst_scorer_seconds", {"scorer": "triton"}), TRACING.step("triton"):
                    found = await self._answers(every, reference, look)
        except Exception as error:
            raise Unavailable(f"Triton at {self._url} did not score: {type(error).__name__} {error}") from error
        return highest(asked, [found[id(one)] for one in every])

    async def _answers(self, requests: Sequence[AssessRequest], reference: ModelReference, look: bool) -> dict[int, Risk]:
        """By the requests' ids. With a film they are asked without it too, which costs little: a look that takes long holds nobody up."""
        until = asyncio.get_running_loop().time() + self._deadline_s * _LOOKING
        plain = asyncio.gather(*(self._infer(part, urgency, reference, {}) for urgency, part in _parts(requests)))
        looking: list[asyncio.Task[list[tuple[AssessRequest, Risk]]]] = []
        try:
            films = await films_for(requests, reference, self._films, SCORE._replace(seconds=self._deadline_s / 2)) if look else {}
            seen = [one for one in requests if model_inputs.film_of(one, reference, films) is not None]
            looking = [asyncio.create_task(self._infer(part, urgency, reference, films)) for urgency, part in _parts(seen)]
            answers = [(one, _without_film(risk, films.get(one.picture or ""))) for part in await plain for one, risk in part]
            if looking:
                await asyncio.wait(looking, timeout=until - asyncio.get_running_loop().time())
            looked = [answer for task in looking if task.done() and task.exception() is None for answer in task.result()]
        finally:
            plain.cancel()
            for task in looking:
                task.cancel()
        return {id(request): risk for request, risk in (*answers, *looked)}

    async def close(self) -> None:
        """Ends the connection."""
        if "_client" in self.__dict__:
            await self._client.close()

    async def _infer(
        self, requests: Sequence[AssessRequest], urgency: int, reference: ModelReference, films: Films
    ) -> list[tuple[AssessRequest, Risk]]:
        """Raises Unavailable. Its columns are those of the version that answers: one that reads others is asked again by them."""
        for _ in range(_VERSIONS_MET):
            arrays = {"features": features.matrix([one.features for one in requests]), **model_inputs.arrays(requests, reference, films)}
            version, told, given = await self._answer(arrays, urgency)
            answered = self._answered(version, reference)
            if _reads(answered) == _reads(reference):
                break
            reference = answered
        else:
            raise Unavailable("several versions answer in turn")
        described = [_as_given(request, given) for request in requests]
        seen = {} if "image" in arrays.keys() - given.keys() else films
        scored = risks(described, told, answered, "triton", self._clock.now(), version, seen)
        return list(zip(requests, scored, strict=True))

    async def _answer(self, arrays: dict[str, NDArray[Any]], urgency: int) -> tuple[str, Answer, dict[str, NDArray[Any]]]:
        """The version that answered, what it said, and what of the arrays it was given: all that it takes. Raises Unavailable."""
        for _ in range(_VERSIONS_MET):
            taken = await self._taken()
            given, blank = _fitting(arrays, taken)
            try:
                version, told = await self._ask(given | blank, urgency)
            except InferenceServerException as error:
                if error.status() != _REFUSED:
                    raise
                self._forget(taken)  # another version is served already, and takes others
                continue
            if version != self._version:
                self._version = version
                self._forget(taken)
            if _fitting(arrays, await self._taken())[0].keys() == given.keys():
                return version, told, given
        raise Unavailable("Triton refuses the inputs that its configuration names, or several versions answer in turn")

    def _forget(self, taken: Sequence[Any]) -> None:
        """Asks for them anew, unless another request has already."""
        if self._inputs is taken:
            self._inputs = None

    async def _taken(self) -> Sequence[Any]:
        """Inputs of the model that Triton serves, by its configuration; asked again when it refuses some or another version answered."""
        if self._inputs is None:
            self._inputs = list((await self._client.get_model_config(self._model, client_timeout=self._deadline_s)).config.input)
        return self._inputs

    async def _ask(self, arrays: dict[str, NDArray[Any]], urgency: int) -> tuple[str, Answer]:
        answer = await self._client.infer(
            self._model,
            [_tensor(name, rows) for name, rows in arrays.items()],
            outputs=[InferRequestedOutput(name) for name in OUTPUTS],
            priority=min(max(urgency, 1), LOWEST_PRIORITY),
            timeout=int(self._deadline_s * 1e6),
            client_timeout=self._deadline_s,
            headers=TRACING.context(),
        )
        return answer.get_response().model_version, Answer(*(np.asarray(answer.as_numpy(name)) for name in OUTPUTS))

    def _answered(self, version: str, reference: ModelReference) -> ModelReference:
        """Of the version that answered: it may be another than the one that was asked."""
        if version == reference.version:
            self._met[version] = reference
        elif version and self._folder_of is not None:
            with suppress(NotFound, StackError):
                self._met[version] = self._reference(self._folder_of(version))
        # Unknown where Triton's repository is not this site's: its groups may be the same all the same.
        return self._met.get(version, reference)


def _fitting(arrays: dict[str, NDArray[Any]], taken: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Of the arrays those that the model takes; and "not there" for what else it must be given."""
    shapes = {one.name: tuple(one.dims) for one in taken}
    given = {name: rows for name, rows in arrays.items() if rows.shape[1:] == shapes.get(name)}
    if "image" not in given:
        given.pop("has_image", None)
    blank = {one.name: _blank(one, len(arrays["features"])) for one in taken if not one.optional and one.name not in given}
    return given, blank


def _blank(taken: Any, rows: int) -> NDArray[Any]:
    kind = triton_to_np_dtype(DataType.Name(taken.data_type).removeprefix("TYPE_"))
    return np.full((rows, *taken.dims), np.nan if taken.name == "values" else 0, kind)


def _reads(reference: ModelReference) -> tuple[Any, ...]:
    return reference.side, reference.values, reference.concepts, reference.buckets


def _without_film(risk: Risk, film: model_inputs.Film | str | None) -> Risk:
    """Scored without its film, and why."""
    return replace(risk, unseen=film) if risk.unseen is not None and isinstance(film, str) else risk


def _as_given(request: AssessRequest, given: Collection[str]) -> AssessRequest:
    """Without what the model was not given."""
    values, concepts = request.values if "values" in given else {}, request.concepts if "concepts" in given else ()
    return replace(request, values=values, concepts=concepts, studies=request.studies if "tokens" in given else [])


def _tensor(name: str, rows: NDArray[Any]) -> InferInput:
    tensor = InferInput(name, list(rows.shape), np_to_triton_dtype(rows.dtype))
    tensor.set_data_from_numpy(rows)
    return tensor


def _parts(requests: Sequence[AssessRequest]) -> Iterator[tuple[int, list[AssessRequest]]]:
    """Requests of one urgency, at most MAX_BATCH of them, most urgent first."""
    for urgency, group in groupby(sorted(requests, key=lambda request: request.urgency), key=lambda request: request.urgency):
        same = list(group)
        for start in range(0, len(same), MAX_BATCH):
            yield urgency, same[start : start + MAX_BATCH]
