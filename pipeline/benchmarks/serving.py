"""The models behind Triton beside the same files in one process, the urgent request under a saturating load, and films decoded."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from pipeline.adapters.local.supervisor import Progress
from pipeline.adapters.onnx import artefact, heads
from pipeline.adapters.onnx.pictures import INPUT, OnnxHead
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.adapters.pictures.decoding import prepared
from pipeline.adapters.triton.pictures import MAX_BATCH as PICTURES
from pipeline.adapters.triton.scorer import LOWEST_PRIORITY
from pipeline.adapters.triton.scorer import MAX_BATCH as ROWS
from pipeline.benchmarks import servers
from pipeline.benchmarks.latency import percentiles
from pipeline.domain import features
from pipeline.domain.model_answer import OUTPUTS
from pipeline.errors import StackError
from pipeline.settings import Settings

AT_ONCE = 4
"""Requests that are always on their way, so that the server never waits for the next one."""
ROUTINE_ROWS, ROUTINE_AT_ONCE = ROWS, 16
"""Of the saturating load: rows a request, and requests always on their way."""
URGENT_EVERY_S = 0.05
FILM_SIDE = 2048
SYNTAXES: dict[str, UID] = {
    "uncompressed": ExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}
_SEED = 1


@dataclass(frozen=True, slots=True)
class Model:
    """A served model with a batch to ask it: Triton's name, its input, its outputs, and the same file in this process."""

    name: str
    input: str
    kind: str
    outputs: tuple[str, ...]
    batch: NDArray[Any]
    here: Callable[[NDArray[Any]], object]


def measure(seconds: float, progress: Progress) -> dict[str, Any]:
    """Each part for `seconds`. Raises StackError where Triton does not run."""
    films = decoded(seconds, progress)
    with servers.folder() as data, servers.stack(data, progress, roles=(), servers=("triton",), steps=()) as settings:
        if settings.triton.url is None:
            raise StackError("Triton does not run on this machine", "run `readfirst doctor`")
        clinical, *images = _models(settings)
        throughput = {}
        for model in (clinical, *images):
            throughput[model.name] = asyncio.run(_throughput(settings.triton.url, model, seconds))
            progress(model.name, f"{throughput[model.name]['ratio']} of one process")
        urgent = _urgent(settings.triton.url, clinical, seconds, progress)
    return {"throughput": throughput, "urgent": urgent, "films": films, "seconds": seconds}


def decoded(seconds: float, progress: Progress) -> dict[str, Any]:
    """Films of 2048 x 2048 pixels in 16 bits to the largest head's input, in one thread, by transfer syntax: a processor second each."""
    side, found = max(heads.load_reference(name).side for name in heads.names()), {}
    for name, syntax in SYNTAXES.items():
        body, done, began = film(syntax), 0, time.process_time()
        while time.process_time() - began < seconds / len(SYNTAXES):
            prepared(body, side)
            done += 1
        found[name] = round(done / (time.process_time() - began), 1)
        progress("films", f"{name}: {found[name]} a processor second")
    return found


def film(syntax: UID, side: int = FILM_SIDE) -> bytes:
    """A DICOM object whose pixels compress as a film's do: smooth shapes under a little noise."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    lungs = np.exp(-((np.abs(x) - 0.2) ** 2 / 0.012 + (y + 0.05) ** 2 / 0.05))
    pixels = (3000 - 2000 * lungs + np.random.default_rng(_SEED).normal(0, 8, (side, side))).clip(0, 4095).astype(np.uint16)
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.1.1"), pydicom.uid.generate_uid(entropy_srcs=["bench"])
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = side, side, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PixelData = pixels.tobytes()
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax)
    whole = io.BytesIO()
    dataset.save_as(whole, enforce_file_format=True)
    return whole.getvalue()


def _models(settings: Settings) -> list[Model]:
    """The clinical model, then every head."""
    rng, clinical = np.random.default_rng(_SEED), OnnxModel(artefact.load())
    rows = rng.normal(size=(ROWS, len(features.NAMES))).astype(np.float32)
    found = [Model(settings.triton.model, "features", "FP32", OUTPUTS, rows, clinical.run)]
    for name in heads.names():
        head = OnnxHead(heads.load(name))
        pictures = rng.integers(0, 256, (PICTURES, head.reference.side, head.reference.side), dtype=np.uint8)
        found.append(Model(name, INPUT, "UINT8", head.asked, pictures, partial(head.run, outputs=head.asked)))
    return found


async def _throughput(url: str, model: Model, seconds: float) -> dict[str, float]:
    """Batches a second; the process, with one thread as Triton's instance has, and Triton in turns of the same length."""
    client, here, there = InferenceServerClient(url), 0, 0
    try:
        await _ask(client, model, len(model.batch), LOWEST_PRIORITY)
        model.here(model.batch)
        for _ in range(2):
            here += await asyncio.to_thread(_rounds, lambda: model.here(model.batch), seconds / 4)
            there += await _in_flight(lambda: _ask(client, model, len(model.batch), LOWEST_PRIORITY), AT_ONCE, seconds / 4)
    finally:
        await client.close()
    rates = {name: done * len(model.batch) / (seconds / 2) for name, done in (("process", here), ("triton", there))}
    return {**{name: round(rate, 1) for name, rate in rates.items()}, "batch": len(model.batch), "ratio": round(there / max(here, 1), 2)}


def _rounds(work: Callable[[], object], seconds: float) -> int:
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        work()
        done += 1
    return done


async def _in_flight(ask: Callable[[], Awaitable[object]], at_once: int, seconds: float) -> int:
    """How many were answered while so many were always on their way."""
    end, done = time.perf_counter() + seconds, 0

    async def line() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await ask()
            done += time.perf_counter() < end

    await asyncio.gather(*(line() for _ in range(at_once)))
    return done


def _urgent(url: str, model: Model, seconds: float, progress: Progress) -> dict[str, Any]:
    """One row of top priority every 50 ms: on an idle server, and while routine requests saturate it, with and without priorities."""
    found: dict[str, Any] = {"idle": asyncio.run(_waits(url, model, 1, seconds))}
    with _saturated(url, model) as answered:
        for name, priority in (("saturated", 1), ("without priorities", LOWEST_PRIORITY)):
            before, began = answered(), time.perf_counter()
            found[name] = asyncio.run(_waits(url, model, priority, seconds))
            found[name]["routine_rows_per_s"] = round((answered() - before) * ROUTINE_ROWS / (time.perf_counter() - began), 1)
    for name, wait in found.items():
        progress("urgent", f"{name}: {wait}")
    ratio = (found["saturated"]["p99"] or 0) / (found["idle"]["p99"] or 1)
    return {**found, "saturated_to_idle": round(ratio, 2), "routine": {"rows": ROUTINE_ROWS, "at_once": ROUTINE_AT_ONCE}}


async def _waits(url: str, model: Model, priority: int, seconds: float) -> dict[str, float | None]:
    client, waits = InferenceServerClient(url), []
    try:
        for _ in range(5):
            await _ask(client, model, 1, priority)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            await _ask(client, model, 1, priority)
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(max(0.0, URGENT_EVERY_S - waits[-1]))
    finally:
        await client.close()
    return percentiles(waits)


@contextmanager
def _saturated(url: str, model: Model) -> Iterator[Callable[[], int]]:
    """Routine requests from a process of its own, for the time of the block; tells how many were answered. Raises StackError."""
    context = multiprocessing.get_context("spawn")
    stop, done = context.Event(), context.Value("L", 0)
    load = context.Process(target=_routine, args=(url, model.name, model.input, model.kind, model.batch, stop, done), daemon=True)
    load.start()
    try:
        end = time.monotonic() + 60
        while not done.value and load.is_alive() and time.monotonic() < end:
            time.sleep(0.1)
        yield lambda: int(done.value)
        if not load.is_alive() or not done.value:
            raise StackError("the saturating load did not last", "measure on a quieter machine")
    finally:
        stop.set()
        load.join(30)


def _routine(url: str, name: str, input: str, kind: str, batch: NDArray[Any], stop: Event, done: Synchronized[int]) -> None:
    model = Model(name, input, kind, (), batch, lambda rows: None)

    async def line(client: InferenceServerClient) -> None:
        while not stop.is_set():
            await _ask(client, model, ROUTINE_ROWS, LOWEST_PRIORITY)
            done.value += 1

    async def run() -> None:
        client = InferenceServerClient(url)
        await asyncio.gather(*(line(client) for _ in range(ROUTINE_AT_ONCE)))
        await client.close()

    asyncio.run(run())


async def _ask(client: InferenceServerClient, model: Model, rows: int, priority: int) -> object:
    question = InferInput(model.input, [rows, *model.batch.shape[1:]], model.kind)
    question.set_data_from_numpy(model.batch[:rows])
    return await client.infer(model.name, [question], priority=priority, client_timeout=60)
