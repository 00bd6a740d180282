"""Builds Triton's model repository from the shipped artefact: one ONNX file, for its python or its onnxruntime backend."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pipeline.adapters.onnx.artefact import SHIPPED, load
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.adapters.triton.scorer import LOWEST_PRIORITY, MAX_BATCH
from pipeline.domain.model_answer import ModelReference

Flavour = Literal["cpu", "gpu"]

PYTHON_BACKEND = Path(__file__).with_name("triton_python_model.py")
"""What Triton's python backend runs; it is copied, never imported here."""

_INSTANCES = {
    "cpu": 'backend: "python"\ninstance_group [{ count: 2 kind: KIND_CPU }]',
    # Without TensorRT, which has no operator for the trees: the graph would be cut around them.
    "gpu": 'backend: "onnxruntime"\ninstance_group [{ count: 2 kind: KIND_GPU }]',
}
"""Two, so that one is free: a request that comes while the only one is being released wakes nobody, and Triton's batcher then looks at
its queue every 500 ms (triton-inference-server/core, src/dynamic_batch_scheduler.cc).
"""
_BATCH = {"cpu": MAX_BATCH, "gpu": 64}
_CONFIG = """\
# Written by pipeline.models.triton_repository.
name: "{model}"
{instances}
max_batch_size: {batch}
input [{{ name: "features" data_type: TYPE_FP32 dims: [ {features} ] }}]
output [
  {{ name: "risk" data_type: TYPE_FP32 dims: [ 1 ] }},
  {{ name: "contributions" data_type: TYPE_FP32 dims: [ {groups} ] }},
  {{ name: "spread" data_type: TYPE_FP32 dims: [ 1 ] }},
  {{ name: "novelty" data_type: TYPE_FP32 dims: [ 1 ] }}
]
# Priority 1 is the highest. A client's own timeout counts where it is below the default, and covers the queue only.
dynamic_batching {{
  priority_levels: {priorities}
  default_priority_level: {priorities}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: 5000000
    allow_timeout_override: true
    max_queue_size: 1024
  }}
}}
version_policy {{ specific {{ versions: [ {version} ] }} }}
model_warmup [
  {{ name: "one" batch_size: 1 inputs {{ key: "features" value {{ data_type: TYPE_FP32 dims: [ {features} ] zero_data: true }} }} }},
  {{ name: "many" batch_size: {batch} inputs {{ key: "features" value {{ data_type: TYPE_FP32 dims: [ {features} ] zero_data: true }} }} }}
]
"""


def build(target: Path, flavour: Flavour, artefact: Path = SHIPPED) -> None:
    """Writes the model's folder below `target`, replacing what was there. Raises StackError when the artefact is damaged."""
    source = load(artefact)
    put(target, source.reference.model, source.reference.version, source.onnx, config(source.reference, flavour), flavour)


def put(target: Path, model: str, version: str, onnx: bytes, config: str, flavour: Flavour) -> None:
    """Writes one model's folder whole, then gives it its name in place of what was there."""
    fresh, final = target / f".{model}.new", target / model
    shutil.rmtree(fresh, ignore_errors=True)
    folder = fresh / version
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(onnx)
    if flavour == "cpu":
        shutil.copyfile(PYTHON_BACKEND, folder / "model.py")
    (fresh / "config.pbtxt").write_text(config)
    shutil.rmtree(final, ignore_errors=True)
    fresh.rename(final)


def config(reference: ModelReference, flavour: Flavour) -> str:
    """Triton's ModelConfig as protobuf text."""
    return _CONFIG.format(
        model=reference.model,
        instances=_INSTANCES[flavour],
        batch=_BATCH[flavour],
        features=len(reference.features),
        groups=len(reference.groups),
        priorities=LOWEST_PRIORITY,
        version=reference.version,
    )
