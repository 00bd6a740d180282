"""A version of the model is changed while a real Triton answers: no request is lost, and what cannot be served leaves the old one there."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.cli import build
from pipeline.errors import Unavailable
from pipeline.models.promotion import Compared
from pipeline.models.serving import build_repository, serve
from tests.integration.test_triton import request
from tests.stack_fixtures import serving

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def candidate(folder: Path, version: str, weights: bytes | None = None) -> Path:
    """The shipped model under another version, or with other weights."""
    target = folder / f"candidate-{version}"
    shutil.copytree(artefact.SHIPPED, target)
    reference = json.loads((target / artefact.REFERENCE_FILE).read_text())
    (target / artefact.REFERENCE_FILE).write_text(json.dumps({**reference, "version": version}))
    if weights is not None:
        (target / MODEL_FILE).write_bytes(weights)
    return target


async def test_no_request_is_lost(tmp_path: Path) -> None:
    """Requests go on through a promotion, a failed one, and the way back; each is answered by the version that was served then."""
    versions = ModelVersions(tmp_path / "versions", "clinical_risk")
    shipped = artefact.load_reference().version
    with serving(tmp_path, lambda target: build_repository(target, "cpu")) as server:
        scorer = TritonScorer(server.url, "clinical_risk", 5.0, SystemClock(), versions.served)
        answered: list[str] = []
        done = asyncio.Event()

        async def ask() -> None:
            while not done.is_set():
                answered.extend(risk.model_version or "" for risk in await scorer.score([request(n) for n in range(4)]))
                await asyncio.sleep(0.01)

        async def answers(version: str) -> None:
            async with asyncio.timeout(20):
                while answered[-1:] != [version]:  # noqa: ASYNC110 (nobody sets an event for it)
                    await asyncio.sleep(0.02)

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        try:
            await answers(shipped)
            version = versions.install(candidate(tmp_path, "901"))
            new = versions.versions()[version]
            await asyncio.to_thread(serve, new, versions.served(), tmp_path / "models", server.url)
            versions.promote("901", NOW, "kim", None, [])
            await answers("901")
            foreign = candidate(tmp_path, "902", b"not a model")
            (foreign / artefact.REFERENCE_FILE).write_text(
                (foreign / artefact.REFERENCE_FILE).read_text().replace(artefact.load_reference().sha256, _sha256(b"not a model"))
            )
            with pytest.raises(Unavailable):
                await asyncio.to_thread(serve, foreign, new, tmp_path / "models", server.url)
            await answers("901")
            await asyncio.to_thread(serve, versions.shipped, new, tmp_path / "models", server.url)
            versions.roll_back(NOW, "kim", None)
            await answers(shipped)
        finally:
            done.set()
            results = await asyncio.gather(*asking, return_exceptions=True)
            await scorer.close()

    assert results == [None] * 3
    assert set(answered) == {shipped, "901"}


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

    back = run.invoke(build(), ["promote", "--rollback", "--reason", "a trial", *base])
    assert "served: the shipped version" in back.stdout
    assert "rolled back" in back.stdout


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
