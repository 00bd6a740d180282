"""A version of the model is changed while a real Triton answers: no request is lost, and what cannot be served leaves the old one there."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.local.triton import TritonServer
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.onnx import artefact, heads
from pipeline.adapters.onnx.registry import HeadRegistry
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.adapters.triton import control
from pipeline.adapters.triton.pictures import TritonImageModel
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.cli import build
from pipeline.errors import StackError, Unavailable
from pipeline.models.imaging import acceptance, films
from pipeline.models.promotion import Compared
from pipeline.models.serving import build_repository, serve
from pipeline.ports import Picture
from pipeline.services.pictures import InstalledHead, PictureStage
from schemas.topics import FINDINGS
from tests.integration.test_triton import request
from tests.stack_fixtures import serving
from tests.store_fixtures import batch
from tests.unit.services.test_pictures import told

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
HEAD = "chest_frontal"


def candidate(folder: Path, version: str, weights: bytes | None = None) -> Path:
    """The shipped model under another version, or with other weights."""
    target = folder / f"candidate-{version}"
    shutil.copytree(artefact.SHIPPED, target)
    reference = json.loads((target / artefact.REFERENCE_FILE).read_text())
    (target / artefact.REFERENCE_FILE).write_text(json.dumps({**reference, "version": version}))
    if weights is not None:
        (target / MODEL_FILE).write_bytes(weights)
    return target


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TritonServer, Path]]:
    """Serves what comes with Readfirst; whoever promotes something goes back. And its repository."""
    folder = tmp_path_factory.mktemp("promotion")
    with serving(folder, lambda target: build_repository(target, "cpu")) as server:
        yield server, folder / "models"


async def test_no_request_is_lost(tmp_path: Path, triton: tuple[TritonServer, Path]) -> None:
    """Requests go on through a promotion, a failed one, and the way back; each is answered by the version that was served then."""
    versions = ModelVersions(tmp_path / "versions", "clinical_risk")
    shipped = artefact.load_reference().version
    server, repository = triton
    scorer = TritonScorer(server.url, "clinical_risk", 60.0, SystemClock(), versions.served)
    answered: list[str] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            answered.extend(risk.model_version or "" for risk in await scorer.score([request(n) for n in range(4)]))
            await asyncio.sleep(0.01)

    async def answers(version: str) -> None:
        async with asyncio.timeout(120):
            while answered[-1:] != [version]:  # noqa: ASYNC110 (nobody sets an event for it)
                await asyncio.sleep(0.02)

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    try:
        await answers(shipped)
        version = versions.install(candidate(tmp_path, "901"))
        new = versions.versions()[version]
        await asyncio.to_thread(serve, new, versions.served(), repository, [server.url])
        versions.promote("901", NOW, "kim", None, [])
        await answers("901")
        foreign = candidate(tmp_path, "902", b"not a model")
        (foreign / artefact.REFERENCE_FILE).write_text(
            (foreign / artefact.REFERENCE_FILE).read_text().replace(artefact.load_reference().sha256, _sha256(b"not a model"))
        )
        with pytest.raises(Unavailable):
            await asyncio.to_thread(serve, foreign, new, repository, [server.url])
        await answers("901")
        await asyncio.to_thread(serve, versions.shipped, new, repository, [server.url])
        versions.roll_back(NOW, "kim", None)
        await answers(shipped)
    finally:
        done.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        await scorer.close()

    assert results == [None] * 3
    assert set(answered) == {shipped, "901"}


def head_candidate(folder: Path, version: str, **described: object) -> Path:
    """The shipped head under another version. described: what else its description says."""
    target = folder / f"head-{version}"
    shutil.copytree(heads.HEADS / HEAD, target)
    told = json.loads((target / heads.REFERENCE_FILE).read_text())
    (target / heads.REFERENCE_FILE).write_text(json.dumps({**told, "version": version, **described}))
    return target


def test_the_settings_name_triton_where_no_stack_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: the repository is built from what was promoted, changed by the command while Triton answers, and built again."""
    run, repository, models = CliRunner(), tmp_path / "models", tmp_path / "versions"
    for name, value in {"MODELS": models, "TRITON__REPOSITORY": repository, "DATA": tmp_path / "data"}.items():
        monkeypatch.setenv(f"READFIRST_{name}", str(value))
    new, shipped = candidate(tmp_path, "901"), artefact.load_reference().version
    forced = ["--force", "--reason", "a trial", "--data", str(tmp_path / "nowhere"), "--by", "kim"]

    with serving(tmp_path, lambda _: built()) as server:
        monkeypatch.setenv("READFIRST_TRITON__URL", "127.0.0.1:1")
        nobody = run.invoke(build(), ["promote", str(new), *forced])
        assert nobody.exit_code == 1
        assert "127.0.0.1:1" in str(nobody.exception)
        assert (repository / "clinical_risk" / shipped).is_dir()

        monkeypatch.setenv("READFIRST_TRITON__CONTROL", server.url)
        promoted = run.invoke(build(), ["promote", str(new), *forced, "--json"])
        assert promoted.exit_code == 0, promoted.output
        assert json.loads(promoted.stdout)["served"] == "901"
        assert control.version(server.url, "clinical_risk") == "901"
        before = (repository / "clinical_risk").stat().st_ino
        built()
        assert (repository / "clinical_risk" / "901").is_dir()
        assert (repository / "clinical_risk").stat().st_ino == before, "another server may be reading it"

        back = run.invoke(build(), ["promote", "--rollback", "--reason", "enough", "--by", "kim"])
        assert back.exit_code == 0, back.output
        assert control.version(server.url, "clinical_risk") == shipped
    assert ModelVersions(models, "clinical_risk").state().served is None


def built() -> None:
    """The step before Triton, as a container runs it."""
    done = subprocess.run([sys.executable, "-m", "pipeline.cli", "run", "models"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_promoted_head_looks_and_says_its_version(tmp_path: Path, triton: tuple[TritonServer, Path]) -> None:
    """Pictures go to the new version inside Triton once it is promoted, to the old one again after the way back, whatever is kept.

    The new one is as versions were before they told their spread and their scope.
    """
    server, repository = triton
    registry = HeadRegistry(tmp_path / "versions")
    versions = registry.versions[HEAD]
    log, looking = MemoryEventLog(), TritonImageModel(server.url, HEAD, 10.0)
    head = InstalledHead(partial(registry.reference, HEAD), [("triton", looking)])
    stage = PictureStage(MemoryOffsets(), log, Films(), {HEAD: head}, SystemClock(), "pictures")
    picture = acceptance.pictures(registry.reference(HEAD).side)[0]
    try:
        await stage.handle([batch([told(0)])])
        spreads = [(await looking.look([picture]))[0].spreads]
        before, version = versions.served(), versions.install(head_candidate(tmp_path, "903", spread=False, scope=None))
        await asyncio.to_thread(serve, versions.folder_of(version), before, repository, [server.url])
        await stage.handle([batch([told(1, uri="object:1/2/4")])])
        spreads += [(await looking.look([picture]))[0].spreads]
        versions.promote(version, NOW, "kim", None, [])
        await stage.handle([batch([told(2)])])
        await asyncio.to_thread(serve, before, versions.served(), repository, [server.url])
        versions.roll_back(NOW, "kim", None)
        await stage.handle([batch([told(3, uri="object:1/2/5")])])
    finally:
        await looking.close()

    said = [finding.image for finding in log.documents(FINDINGS)]
    assert [(image.version, image.scorer) for image in said] == [("1", "triton"), ("903", "triton"), ("903", "triton"), ("1", "triton")]
    assert [bool(each) for each in spreads] == [True, False]


class Films:
    """Whatever is asked for, something like a film."""

    async def read(self, uri: str, side: int) -> Picture:
        return acceptance.pictures(side)[0]


def test_a_worse_candidate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What speaks against it is told; with force and a reason it is promoted, and both are kept. Without data nothing can be compared."""
    run, folder = CliRunner(), candidate(tmp_path, "901")
    base = ["promote", str(folder), "--stack", str(tmp_path / "data"), "--by", "kim"]
    nothing = run.invoke(build(), [*base, "--data", str(tmp_path / "nowhere")])
    assert nothing.exit_code == 1
    assert ModelVersions(tmp_path / "data" / "models", "clinical_risk").state().history == []

    worse = Compared("women", 900, 120, 0.86, 0.80, (-0.08, -0.04), 0.01, 0.01, (-0.01, 0.01))
    monkeypatch.setattr("pipeline.models.clinical.promotion.compare_on", lambda *_: [worse])
    assert run.invoke(build(), [*base, "--force"]).exit_code == 1
    forced = run.invoke(build(), [*base, "--force", "--reason", "the old one was made on adults only", "--json"])
    (entry,) = json.loads(forced.stdout)["history"]
    assert (entry["act"], entry["reason"]) == ("promoted", "the old one was made on adults only")
    assert entry["objections"] == ["women: AUC 0.800 against 0.860, worse by 0.040 to 0.080 (900 patients, 120 with the outcome)"]


def test_the_same_weights_pass(tmp_path: Path, shared_data: Path) -> None:
    """Compared on real patients, served, and back again."""
    run = CliRunner()
    base = ["--stack", str(tmp_path / "data"), "--data", str(shared_data), "--by", "kim"]
    same = run.invoke(build(), ["promote", str(candidate(tmp_path, "901")), *base, "--json"])
    assert same.exit_code == 0, same.output
    assert json.loads(same.stdout)["served"] == "901"

    back = run.invoke(build(), ["promote", "--rollback", "--reason", "a trial", *base[:2]])
    assert "served: the shipped version" in back.stdout
    assert "rolled back" in back.stdout


def test_a_worse_head_is_refused(tmp_path: Path, shared_data: Path) -> None:
    """On NIH's patients held out: one whose finding is turned round is told and not promoted; the same weights pass, and go back."""
    run, base = CliRunner(), ["--stack", str(tmp_path / "data"), "--data", str(few_films(shared_data, tmp_path / "films")), "--by", "kim"]
    worse = turned(head_candidate(tmp_path, "903"))
    refused = run.invoke(build(), ["promote", str(worse), *base])
    assert refused.exit_code == 1
    assert "all: AUC 0.0" in refused.stderr

    same = run.invoke(build(), ["promote", str(head_candidate(tmp_path, "904")), *base, "--json"])
    assert (same.exit_code, json.loads(same.stdout)["served"]) == (0, "904")
    unknown = run.invoke(build(), ["drift", "--model", "nonsense", *base[:2]]).exception
    assert isinstance(unknown, StackError) and HEAD in unknown.remedy
    back = run.invoke(build(), ["promote", "--rollback", "--model", HEAD, "--reason", "a trial", *base[:2]])
    assert "served: the shipped version" in back.stdout
    assert ModelVersions(tmp_path / "data" / "models", "clinical_risk").state().history == []


def few_films(data: Path, target: Path) -> Path:
    """Of NIH's patients held out fifty films, in a data folder of their own."""
    (target / films.NIH).mkdir(parents=True)
    (target / films.NIH / "png256").symlink_to(data / films.NIH / "png256")
    with (data / films.NIH / "labels.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    chosen = films.held_out(np.array([row["Patient ID"] for row in rows]), "nih")
    kept = [row for row, keep in zip(rows, chosen, strict=True) if keep]
    with (target / films.NIH / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(kept[:: len(kept) // 50][:50])
    return target


def turned(folder: Path) -> Path:
    """Its probabilities are those of the opposite."""
    onnx = pytest.importorskip("onnx", reason="the extra `train` (onnx) is not installed")
    model = onnx.load(folder / MODEL_FILE)
    place, last = next((n, node) for n, node in enumerate(model.graph.node) if node.output[0] == "findings")
    model.graph.node.insert(place, onnx.helper.make_node("Neg", [last.input[0]], ["opposite"]))
    last.input[0] = "opposite"
    (folder / MODEL_FILE).write_bytes(body := model.SerializeToString())
    told = json.loads((folder / heads.REFERENCE_FILE).read_text())
    (folder / heads.REFERENCE_FILE).write_text(json.dumps({**told, "sha256": _sha256(body)}))
    return folder


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
