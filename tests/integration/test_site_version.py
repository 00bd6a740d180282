"""A site's own version is asked live with all that it reads: film, words and further values, through a real Triton and without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace

pytest.importorskip("onnxscript", reason="the site's version is put together with the extra train")
pytest.importorskip("torch", reason="the site's version is put together with the extra train")

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.local.triton import TritonServer
from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.adapters.pictures.decoding import prepared
from pipeline.adapters.pictures.films import KeptFilms
from pipeline.adapters.pictures.reading import PooledReader
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.domain import explanation, features, model_inputs, order_words
from pipeline.models import triton_repository
from pipeline.models.onnx_defaults import without_defaults
from pipeline.models.serving import build_repository, serve
from pipeline.ports import Scorer
from pipeline.services.scoring import ScoringStage
from schemas.assessments import AssessRequest, Risk, StudyState
from schemas.topics import ASSESS, ASSESSMENTS
from tests import site_version
from tests.integration.test_triton import NOW, request
from tests.stack_fixtures import serving
from tests.store_fixtures import batch
from tests.unit.pictures.test_pictures import dicom, film
from tests.unit.services.test_context import Bench, finding, image, vital

GONE = "object:1.2/1.3/1.5.dcm"
ORDERS = ("unruhig", "restless since yesterday", "Kontrolle nach Anlage")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact of a version that reads all there is."""
    return site_version.write(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def triton(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TritonServer, Path]]:
    """Serves it."""
    folder = tmp_path_factory.mktemp("triton")
    with serving(folder, lambda target: triton_repository.build(target, "cpu", site)) as server:
        yield server, folder / "models"


@pytest.fixture
async def films(tmp_path: Path) -> AsyncIterator[tuple[KeptFilms, list[str]]]:
    """Three films in an object store, as the gateway puts them there, and who prepares them."""
    objects = LocalObjectStore(tmp_path / "objects")
    bodies = [dicom(film(200 + 10 * n, 180)) for n in range(3)]
    uris = [(await objects.put("1.2", "1.3", f"1.4.{n}", [body])).uri for n, body in enumerate(bodies)]
    reader = PooledReader(objects)
    kept = KeptFilms(reader)
    try:
        await kept.get([*uris, GONE], site_version.SIDE, 60.0)
        yield kept, uris
    finally:
        kept.close()
        reader.close()


def asked(number: int, uri: str | None, words: bool = True, values: bool = True) -> AssessRequest:
    further = {"haemoglobin": 7.0 + number, "crp": 120.0} if values else {}
    order = StudyState(study_uid=f"1.{number}", ready_at=NOW, indication=f"sepsis? {ORDERS[number % len(ORDERS)]}")
    return replace(request(number), picture=uri, concepts=("sepsis",) if words else (), studies=[order] if words else [], values=further)


def whole(site: Path, one: AssessRequest, picture: np.ndarray[Any, Any] | None) -> tuple[float, np.ndarray[Any, Any]]:
    """What onnxruntime says of the file itself: risk and contributions."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(site / MODEL_FILE, options, providers=["CPUExecutionProvider"])
    inputs: dict[str, Any] = {"features": features.matrix([one.features])}
    inputs["values"] = np.array([[one.values.get(name, np.nan) for name in model_inputs.VALUES]], np.float32)
    inputs["tokens"] = np.zeros((1, order_words.BUCKETS), np.float32)
    inputs["tokens"][0, list(order_words.buckets(*(study.indication for study in one.studies)))] = 1
    inputs["concepts"] = np.array([[code in one.concepts for code in model_inputs.CONCEPTS]], np.float32)
    if picture is not None:
        inputs |= {"image": picture[None], "has_image": np.ones((1, 1), np.float32)}
    risk, contributions = session.run(["risk", "contributions"], inputs)
    return float(risk[0, 0]), contributions[0]


async def test_both_scorers_are_given_all_that_there_is(
    site: Path, triton: tuple[TritonServer, Path], films: tuple[KeptFilms, list[str]], tmp_path: Path
) -> None:
    """The same answer from Triton, in this process, and of the file: with and without film, words and values, in one batch."""
    kept, uris = films
    requests = [
        *(asked(0, uris[0]), asked(0, None), asked(1, uris[1], words=False), asked(2, uris[2], values=False), asked(3, GONE)),
        *(asked(4, None, words=False), *(asked(number, None) for number in range(5, 12))),
    ]
    pictures = {uri: prepared((tmp_path / "objects" / uri.removeprefix("object:")).read_bytes(), site_version.SIDE) for uri in uris}
    served = TritonScorer(triton[0].url, "clinical_risk", 60.0, SystemClock(), lambda: site, films=kept)
    local = OnnxScorer(SystemClock(), lambda: site, kept)
    try:
        theirs, ours = await served.score(requests), await local.score(requests)
    finally:
        await served.close()

    for one, remote, here in zip(requests, theirs, ours, strict=True):
        expected, contributions = whole(site, one, pictures.get(one.picture or ""))
        for risk in (remote, here):
            assert risk.probability == pytest.approx(expected, abs=2e-5)
            told = {part.feature: part.change for part in risk.contributions}
            groups = artefact.load_reference(site).groups
            assert all(told[name] == pytest.approx(contributions[groups.index(name)], abs=2e-4) for name in told)
        assert (remote.inputs, remote.unseen, remote.coverage) == (here.inputs, here.unseen, here.coverage)
    assert theirs[0].inputs == ("image", "words", "haemoglobin", "crp")
    assert [risk.unseen for risk in theirs[:5]] == [None, None, None, None, "gone"]
    assert (theirs[2].inputs, theirs[3].inputs) == (("image", "haemoglobin", "crp"), ("image", "words"))
    assert theirs[0].probability != pytest.approx(theirs[1].probability, abs=1e-3)
    assert {"chest film", "sepsis suspected"} <= {part.label for risk in theirs for part in risk.contributions}


async def test_from_events_to_the_assessment(site: Path, triton: tuple[TritonServer, Path], films: tuple[KeptFilms, list[str]]) -> None:
    """What the stream brings reaches the model by the topics alone, and what it moved stands in the assessment."""
    kept, uris = films
    bench = Bench()
    await bench.send(
        image("i1", 0, modality="DX", body_part="CHEST", study_description="sepsis?"),
        finding("f1", 1, uris[0]),
        vital("hb", 6.8, 2, loinc="718-7", unit="g/dL"),
        vital("hr", 131, 3),
    )
    served = TritonScorer(triton[0].url, "clinical_risk", 60.0, SystemClock(), lambda: site, films=kept)
    log = MemoryEventLog()
    stage = ScoringStage(MemoryOffsets(), MemoryDegradedScores(), log, served, None, SystemClock(), "g")
    try:
        await stage.handle([batch(bench.log.received(ASSESS, 0, 0))])
    finally:
        await served.close()

    (answer,) = log.documents(ASSESSMENTS)
    assert (answer.risk.scorer, answer.risk.inputs) == ("triton", ("image", "words", "haemoglobin"))
    assert {"chest film", "sepsis suspected", "Hb 6.8 g/dL", "HR 131 /min"} == {part.label for part in answer.risk.contributions}
    assert explanation.inputs_of(answer.risk) == ["labs", "vitals", "image", "words"]


async def test_a_promotion_of_one_that_reads_more_loses_no_request(site: Path, films: tuple[KeptFilms, list[str]], tmp_path: Path) -> None:
    """From the shipped version to the site's and back: whatever is noted first, each request is answered by who is served."""
    kept, uris = films
    versions = ModelVersions(tmp_path / "versions", "clinical_risk")
    with serving(tmp_path, lambda target: build_repository(target, "cpu")) as server:
        scorer = TritonScorer(server.url, "clinical_risk", 60.0, SystemClock(), versions.served, versions.folder_of, kept)

        async def ask() -> Risk:
            (risk,) = await scorer.score([asked(0, uris[0])])
            return risk

        try:
            said = [await ask()]
            version = versions.install(site)
            await asyncio.to_thread(serve, versions.folder_of(version), versions.shipped, tmp_path / "models", [server.url])
            said.append(await ask())  # Triton has changed, and nothing is noted
            versions.promote(version, SystemClock().now(), "kim", None, [])
            said.append(await ask())
            await asyncio.to_thread(serve, versions.shipped, versions.folder_of(version), tmp_path / "models", [server.url])
            said.append(await ask())
            versions.roll_back(SystemClock().now(), "kim", None)
            said.append(await ask())
        finally:
            await scorer.close()

    shipped = artefact.load_reference().version
    assert [risk.model_version for risk in said] == [shipped, version, version, shipped, shipped]
    assert [risk.inputs for risk in said] == [(), ("words", "haemoglobin", "crp"), ("image", "words", "haemoglobin", "crp"), (), ()]
    assert [risk.unseen for risk in said] == [None, "late", None, None, None]
    assert said[0].probability == said[3].probability == said[4].probability != said[2].probability


async def test_a_film_that_comes_late_is_told_and_there_the_next_time(site: Path) -> None:
    """Not waited for longer than a score can."""

    class Slow:
        ready = asyncio.Event()

        async def read(self, uri: str, side: int) -> np.ndarray[Any, Any]:
            await self.ready.wait()
            return np.zeros((side, side), np.uint8)

    reader = Slow()
    kept = KeptFilms(reader)
    scorer: Scorer = OnnxScorer(SystemClock(), lambda: site, kept)
    (first,) = await scorer.score([asked(0, "object:late")])
    reader.ready.set()
    (again,) = await scorer.score([asked(0, "object:late")])
    kept.close()

    assert (first.unseen, first.inputs) == ("late", ("words", "haemoglobin", "crp"))
    assert (again.unseen, again.inputs) == (None, ("image", "words", "haemoglobin", "crp"))


def test_triton_on_a_gpu_is_given_a_file_without_defaults(site: Path, tmp_path: Path) -> None:
    """Its backend takes no optional inputs of batches: all are declared and must be given, and the answer is the same."""
    onnx = pytest.importorskip("onnx", reason="the site's version is put together with the extra train")
    triton_repository.build(tmp_path, "gpu", site)
    body = (tmp_path / "clinical_risk" / "901" / MODEL_FILE).read_bytes()
    before, after = (
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]) for one in ((site / MODEL_FILE).read_bytes(), body)
    )
    assert [one.name for one in before.get_inputs()] == ["features"]
    assert next(one for one in onnx.load(site / MODEL_FILE).graph.initializer if one.name == "image").dims[0] == 0, "nothing to look at"
    config = (tmp_path / "clinical_risk" / "config.pbtxt").read_text()
    assert "optional" not in config
    assert all(f'name: "{one.name}"' in config for one in after.get_inputs())
    assert len(after.get_inputs()) == 6

    rng = np.random.default_rng(0)
    inputs = {
        "features": features.matrix([request(number).features for number in range(3)]),
        "image": rng.integers(0, 255, (3, site_version.SIDE, site_version.SIDE), np.uint8),
        "has_image": np.array([[1], [0], [1]], np.float32),
        "values": rng.random((3, len(model_inputs.VALUES)), np.float32),
        "concepts": rng.integers(0, 2, (3, len(model_inputs.CONCEPTS))).astype(np.float32),
        "tokens": rng.integers(0, 2, (3, order_words.BUCKETS)).astype(np.float32),
    }
    assert all(np.array_equal(a, b) for a, b in zip(before.run(None, inputs), after.run(None, inputs), strict=True))
    with pytest.raises(ValueError, match="ends within"):
        without_defaults(body[:-10], {"image"})
