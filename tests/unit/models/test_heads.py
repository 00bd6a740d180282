"""The image heads that ship: each as its folder describes it, passing its own acceptance test, and one that Triton understands."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.artefact import SHIPPED
from pipeline.adapters.onnx.pictures import OUTPUTS, OnnxHead, OnnxImageModel
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain.image_heads import SCOPES
from pipeline.errors import StackError
from pipeline.models import triton_heads
from pipeline.models.imaging import acceptance, card
from pipeline.models.serving import build_repository
from pipeline.models.triton_repository import Flavour

WEIGHTS_MAX = 18_000_000
METRICS = json.loads((heads.HEADS / "chest_frontal" / "metrics.json").read_bytes())


@pytest.fixture(scope="module", params=heads.names())
def head(request: pytest.FixtureRequest) -> OnnxHead:
    return OnnxHead(heads.load(request.param))


def test_every_scope_has_its_folder_and_every_folder_its_scope() -> None:
    """A head without a scope is never asked; a scope without a head would promise one."""
    assert heads.names() == sorted(scope.head for scope in SCOPES)


def test_the_acceptance_test(head: OnnxHead) -> None:
    """The shipped file says of known pictures what it said when it was made."""
    stored = json.loads((heads.HEADS / head.reference.head / acceptance.ACCEPTANCE_FILE).read_bytes())
    assert acceptance.differs(head, stored) < acceptance.TOLERANCE
    assert len(heads.load(head.reference.head).onnx) < WEIGHTS_MAX


def test_the_card_is_written_from_the_metrics() -> None:
    """A figure changed by hand, in either, fails."""
    assert (heads.HEADS / "chest_frontal" / "CARD.md").read_text() == card.render(METRICS, heads.load_reference("chest_frontal"))


def test_the_figures_reach_the_target() -> None:
    """NIH's patients held out, Hannover's crossed over; films are rarely refused, everything else is."""
    refused = METRICS["ood"]

    assert METRICS["nih"]["auc"] >= 0.92
    assert METRICS["hannover"]["auc"]["late_fusion"] >= 0.87
    assert refused["films_refused"] <= 0.05
    assert min(*refused["spoiled_refused"].values(), refused["dicom_others_refused"], refused["dicom_others_with_pixels_refused"]) >= 0.95
    assert METRICS["onnx_max_difference"] < 1e-4
    assert METRICS["bytes"] == (heads.HEADS / "chest_frontal" / MODEL_FILE).stat().st_size


def test_all_models_together_are_small() -> None:
    """What is shipped stays under 30 MB, so that it travels with the package."""
    folders = (SHIPPED, heads.HEADS)
    assert sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file()) < 30_000_000


def test_a_shipped_graph_says_nothing_of_the_machine_that_made_it() -> None:
    """Torch's exporter notes the path of each line of code it came through."""
    for file in (SHIPPED / MODEL_FILE, *heads.HEADS.rglob(MODEL_FILE)):
        assert b"pipeline/models" not in file.read_bytes(), file


def test_a_picture_alone_and_among_others_gets_the_same_answer(head: OnnxHead) -> None:
    """And the mean of an activation map differs between findings and pictures as their logits do."""
    pictures = acceptance.pictures(head.reference.side)
    together = head.run(pictures, OUTPUTS)
    alone = [np.concatenate(parts) for parts in zip(*(head.run(one[None], OUTPUTS) for one in pictures), strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one - other).max() < 1e-3
    assert together[2].shape[:2] == together[0].shape


@pytest.mark.parametrize("shade", [0, 128, 255])
async def test_an_even_area_is_refused(head: OnnxHead, shade: int) -> None:
    """What slips through preparation is still no film."""
    picture = np.full((head.reference.side, head.reference.side), shade, np.uint8)
    [looked] = await OnnxImageModel(lambda: heads.HEADS / head.reference.head).look([picture])
    assert looked.unlikeness > 1


def test_triton_starts_with_the_versions_of_the_site(tmp_path: Path) -> None:
    """A head that was promoted while nothing ran is what the next start serves; without a site, what is shipped."""
    name = heads.names()[0]
    candidate, versions = tmp_path / "candidate", ModelVersions.of_head(tmp_path / "models", name)
    shutil.copytree(heads.HEADS / name, candidate)
    told = json.loads((candidate / heads.REFERENCE_FILE).read_text())
    (candidate / heads.REFERENCE_FILE).write_text(json.dumps({**told, "version": "903"}))
    versions.promote(versions.install(candidate), datetime(2026, 3, 2, 8, tzinfo=UTC), "kim", None, [])
    build_repository(tmp_path / "site", "cpu", tmp_path / "models")
    build_repository(tmp_path / "bare", "cpu")

    assert [path.name for path in (tmp_path / "site" / name).iterdir() if path.is_dir()] == ["903"]
    assert [path.name for path in (tmp_path / "bare" / name).iterdir() if path.is_dir()] == [told["version"]]
    assert {path.name for path in (tmp_path / "site").iterdir()} == {path.name for path in (tmp_path / "bare").iterdir()}


def test_a_damaged_or_foreign_head_is_refused_at_load(tmp_path: Path) -> None:
    """By checksum, by name, and where the file is missing."""
    name = heads.names()[0]
    shutil.copytree(heads.HEADS / name, tmp_path / name)
    shutil.copytree(heads.HEADS / name, tmp_path / "other")
    with (tmp_path / name / MODEL_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(StackError, match="SHA-256"):
        heads.load(name, tmp_path)
    with pytest.raises(StackError, match="describes the head"):
        heads.load("other", tmp_path)
    (tmp_path / name / MODEL_FILE).unlink()
    with pytest.raises(StackError, match="cannot be read"):
        heads.load(name, tmp_path)


@pytest.mark.parametrize(("flavour", "backend"), [("cpu", "python"), ("gpu", "onnxruntime")])
def test_triton_understands_both_flavours(tmp_path: Path, flavour: Flavour, backend: str) -> None:
    """By Triton's own protobuf: shapes are the reference's, three priorities, batches, warmed up.

    The onnxruntime backend loads a model only where outputs are declared exactly as the graph has them.
    """
    triton_heads.build(tmp_path, flavour)
    for name in heads.names():
        reference = heads.load_reference(name)
        config: Any = text_format.Parse((tmp_path / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        assert (config.name, config.backend, config.max_batch_size > 1) == (name, backend, True)
        assert list(config.input[0].dims) == [reference.side, reference.side]
        assert list(config.output[0].dims) == [len(reference.findings)]
        assert config.dynamic_batching.priority_levels == 3 and config.model_warmup
        assert (tmp_path / name / reference.version / "model.py").exists() == (flavour == "cpu")
        if flavour == "gpu":
            graph = onnxruntime.InferenceSession(tmp_path / name / reference.version / MODEL_FILE, providers=["CPUExecutionProvider"])
            outputs = {output.name: output.shape[1:] for output in graph.get_outputs()}
            assert {output.name: list(output.dims) for output in config.output} == {one.name: outputs[one.name] for one in config.output}
            [accelerator] = config.optimization.execution_accelerators.gpu_execution_accelerator
            assert (accelerator.name, dict(accelerator.parameters)) == ("tensorrt", {"precision_mode": "FP16"})
