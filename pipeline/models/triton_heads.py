"""Adds the image heads to Triton's model repository: one model a head, under the head's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.adapters.onnx.heads import HEADS, load_from, names
from pipeline.adapters.onnx.pictures import ACTIVATION, OnnxHead
from pipeline.adapters.triton.pictures import MAX_BATCH
from pipeline.adapters.triton.scorer import LOWEST_PRIORITY
from pipeline.domain.image_answer import HeadReference
from pipeline.models.triton_repository import Flavour, put

_INSTANCES = {
    "cpu": 'backend: "python"\ninstance_group [{ count: 1 kind: KIND_CPU }]',
    # Half precision by TensorRT. Its engine is not kept, for the repository is read-only where a container serves it: every start builds it
    # again, which takes about a minute.
    "gpu": (
        'backend: "onnxruntime"\ninstance_group [{ count: 1 kind: KIND_GPU }]\n'
        'optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" '
        'parameters { key: "precision_mode" value: "FP16" } } ] } }'
    ),
}
_CONFIG = """\
# Written by pipeline.models.triton_heads.
name: "{head}"
{instances}
max_batch_size: {batch}
input [{{ name: "image" data_type: TYPE_UINT8 dims: [ {side}, {side} ] }}]
output [
  {{ name: "findings" data_type: TYPE_FP32 dims: [ {findings} ] }},
  {{ name: "unlikeness" data_type: TYPE_FP32 dims: [ 1 ] }},
  {{ name: "activation" data_type: TYPE_FP32 dims: [ {activation} ] }}{spread}
]
# Priority 1 is the highest.
dynamic_batching {{
  max_queue_delay_microseconds: 2000
  priority_levels: {priorities}
  default_priority_level: {priorities}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: 10000000
    allow_timeout_override: true
    max_queue_size: 256
  }}
}}
version_policy {{ specific {{ versions: [ {version} ] }} }}
model_warmup [
  {{ name: "one" batch_size: 1 inputs {{ key: "image" value {{ data_type: TYPE_UINT8 dims: [ {side}, {side} ] zero_data: true }} }} }}
]
"""


_SPREAD = """,
  {{ name: "spread" data_type: TYPE_FP32 dims: [ {findings} ] }}"""
"""Of a head that has it."""


def build(target: Path, flavour: Flavour, folder: Path = HEADS) -> None:
    """Writes a folder for every head below `target`, replacing what was there. Raises StackError when a head is damaged."""
    for name in names(folder):
        build_one(target, flavour, folder / name)


def build_one(target: Path, flavour: Flavour, folder: Path) -> None:
    """The same for the head in `folder` alone."""
    head = load_from(folder)
    # The onnxruntime backend refuses a model whose outputs are not named exactly; the python backend has no look at them.
    activation = OnnxHead(head).shape(ACTIVATION) if flavour == "gpu" else (len(head.reference.findings), -1, -1)
    put(target, head.reference.head, head.reference.version, head.onnx, _config(head.reference, flavour, activation), flavour)


def _config(reference: HeadReference, flavour: Flavour, activation: Sequence[int]) -> str:
    """Triton's ModelConfig as protobuf text. activation: that output's shape for one picture, -1 where it is left open."""
    return _CONFIG.format(
        head=reference.head,
        instances=_INSTANCES[flavour],
        batch=MAX_BATCH,
        side=reference.side,
        findings=len(reference.findings),
        activation=", ".join(map(str, activation)),
        spread=_SPREAD.format(findings=len(reference.findings)) if reference.spread else "",
        priorities=LOWEST_PRIORITY,
        version=reference.version,
    )
