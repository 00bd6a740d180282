"""The model repository is one that Triton understands, for both flavours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from google.protobuf import text_format
from msgspec.structs import replace
from tritonclient.grpc import model_config_pb2

from pipeline.adapters.onnx.artefact import load, load_reference
from pipeline.models.triton_repository import Flavour, build, config

VERSION = load_reference().version


def parsed(target: Path) -> Any:
    """config.pbtxt by Triton's own protobuf: an unknown or misspelt field fails."""
    return text_format.Parse((target / "clinical_risk" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def files(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("flavour", "backend", "kind"), [("cpu", "python", "KIND_CPU"), ("gpu", "onnxruntime", "KIND_GPU")])
def test_the_configuration(tmp_path: Path, flavour: Flavour, backend: str, kind: str) -> None:
    """Shapes are the reference's; three priorities, timeouts that a client may shorten, one version, warmed up."""
    reference = load().reference
    build(tmp_path, flavour)
    config = parsed(tmp_path)

    assert (config.name, config.backend) == ("clinical_risk", backend)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("features", [len(reference.features)])]
    assert {tensor.name: list(tensor.dims) for tensor in config.output} == {
        "risk": [1],
        "contributions": [len(reference.groups)],
        "spread": [1],
        "novelty": [1],
    }
    assert [config.instance_group[0].Kind.Name(group.kind) for group in config.instance_group] == [kind]
    batching = config.dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == (3, 3)
    assert batching.default_queue_policy.allow_timeout_override
    assert batching.default_queue_policy.default_timeout_microseconds > 0
    assert list(config.version_policy.specific.versions) == [int(reference.version)]
    assert max(warmup.batch_size for warmup in config.model_warmup) == config.max_batch_size


def test_a_sites_further_inputs_are_optional(tmp_path: Path) -> None:
    """Declared with their shapes and warmed up. (On a GPU all must be given: tests/integration/test_site_version.py.)"""
    reference = replace(load_reference(), side=32, values=("haemoglobin", "crp"), concepts=("sepsis",), buckets=64)
    parsed = text_format.Parse(config(reference, "cpu"), model_config_pb2.ModelConfig())
    told = {one.name: (list(one.dims), one.optional, one.data_type) for one in parsed.input}
    uint8, fp32 = (model_config_pb2.DataType.Value(f"TYPE_{kind}") for kind in ("UINT8", "FP32"))
    assert told == {
        "features": ([len(reference.features)], False, fp32),
        "image": ([32, 32], True, uint8),
        "has_image": ([1], True, fp32),
        "values": ([2], True, fp32),
        "concepts": ([1], True, fp32),
        "tokens": ([64], True, fp32),
    }
    assert all(set(warm.inputs) == set(told) for warm in parsed.model_warmup)


def test_the_files_of_each_flavour(tmp_path: Path) -> None:
    """The same ONNX file in both; the python backend's code only where it runs."""
    build(tmp_path / "cpu", "cpu")
    build(tmp_path / "gpu", "gpu")

    served = {"clinical_risk/config.pbtxt", f"clinical_risk/{VERSION}/model.onnx"}

    assert files(tmp_path / "cpu") == served | {f"clinical_risk/{VERSION}/model.py"}
    assert files(tmp_path / "gpu") == served
    onnx = (tmp_path / "gpu" / "clinical_risk" / VERSION / "model.onnx").read_bytes()
    assert hashlib.sha256(onnx).hexdigest() == load().reference.sha256
    # The onnxruntime backend loads a model only where outputs are declared exactly as the graph has them.
    graph = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    outputs = {output.name: output.shape[1:] for output in graph.get_outputs()}
    assert {output.name: list(output.dims) for output in parsed(tmp_path / "gpu").output} == outputs


def test_building_again_replaces_what_was_there(tmp_path: Path) -> None:
    """A change of flavour or an older version leaves nothing behind, and other models are not touched."""
    build(tmp_path, "cpu")
    (tmp_path / "clinical_risk" / "0").mkdir()
    (tmp_path / "other").mkdir()
    build(tmp_path, "gpu")

    assert files(tmp_path) == {"clinical_risk/config.pbtxt", f"clinical_risk/{VERSION}/model.onnx"}
    assert {path.name for path in tmp_path.iterdir()} == {"clinical_risk", "other"}
