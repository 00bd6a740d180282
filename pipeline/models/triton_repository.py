"""Builds Triton's model repository from the shipped artefact: one ONNX file, for its python or its onnxruntime backend."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.adapters.onnx.artefact import SHIPPED, load
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.adapters.triton.scorer import LOWEST_PRIORITY, MAX_BATCH
from pipeline.domain import features
from pipeline.domain.model_answer import ModelReference
from pipeline.models.onnx_defaults import without_defaults

Flavour = Literal["cpu", "gpu"]

WRITTEN = "# Written by pipeline.models."
"""How every configuration begins that Readfirst writes."""
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
input [
  {inputs}
]
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
  {{ name: "one" batch_size: 1 {warm} }},
  {{ name: "many" batch_size: {batch} {warm} }}
]
"""


@dataclass(frozen=True, slots=True)
class _Input:
    """A tensor of one row."""

    name: str
    kind: str
    dims: tuple[int, ...]

    def declared(self) -> str:
        """As in `input`."""
        return f'name: "{self.name}" {self._shape}'

    def warm(self) -> str:
        """As in `model_warmup`."""
        return f'inputs {{ key: "{self.name}" value {{ {self._shape} zero_data: true }} }}'

    @property
    def _shape(self) -> str:
        return f"data_type: TYPE_{self.kind} dims: [ {', '.join(map(str, self.dims))} ]"


_FEATURES = _Input("features", "FP32", (len(features.NAMES),))


def build(target: Path, flavour: Flavour, artefact: Path = SHIPPED) -> None:
    """Writes the model's folder below `target`, replacing what was there. Raises StackError when the artefact is damaged."""
    source = load(artefact)
    told, body = source.reference, source.onnx
    if flavour == "gpu":
        # Its backend counts only inputs that must be given, and has none that need not be where requests are batched (onnxruntime_backend,
        # ValidateInputs): there all are given, always.
        body = without_defaults(body, {one.name for one in _further(told)})
    put(target, told.model, told.version, body, config(told, flavour), flavour)


def put(target: Path, model: str, version: str, onnx: bytes, config: str, flavour: Flavour) -> None:
    """Writes one model's folder whole, then gives it its name in place of what was there; what is so already is left to who reads it."""
    fresh, final = target / f".{model}.new", target / model
    shutil.rmtree(fresh, ignore_errors=True)
    folder = fresh / version
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(onnx)
    if flavour == "cpu":
        shutil.copyfile(PYTHON_BACKEND, folder / "model.py")
    (fresh / "config.pbtxt").write_text(config)
    if _content(fresh) == _content(final):
        shutil.rmtree(fresh)
        return
    shutil.rmtree(final, ignore_errors=True)
    fresh.rename(final)


def keep_only(target: Path, models: Collection[str]) -> None:
    """Removes every other model that was written here, so that Triton does not go on serving one that is no longer there."""
    for config in target.glob("*/config.pbtxt"):
        if config.parent.name not in models and config.read_text().startswith(WRITTEN):
            shutil.rmtree(config.parent)


def _content(folder: Path) -> dict[Path, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.parent.name != "__pycache__")  # Triton's Python writes it
    return {file.relative_to(folder): file.read_bytes() for file in files}


def config(reference: ModelReference, flavour: Flavour) -> str:
    """Triton's ModelConfig as protobuf text."""
    further, optional = _further(reference), " optional: true" if flavour == "cpu" else ""
    declared = [_FEATURES.declared(), *(f"{one.declared()}{optional}" for one in further)]
    return _CONFIG.format(
        model=reference.model,
        instances=_INSTANCES[flavour],
        batch=_BATCH[flavour],
        inputs=",\n  ".join(f"{{ {one} }}" for one in declared),
        warm=" ".join(one.warm() for one in (_FEATURES, *further)),
        groups=len(reference.groups),
        priorities=LOWEST_PRIORITY,
        version=reference.version,
    )


def _further(reference: ModelReference) -> list[_Input]:
    """What the model reads beyond the features: as `model_inputs.arrays` gives it."""
    image = [_Input("image", "UINT8", (reference.side, reference.side)), _Input("has_image", "FP32", (1,))] if reference.side else []
    columns = {"values": len(reference.values), "concepts": len(reference.concepts), "tokens": reference.buckets}
    return [*image, *(_Input(name, "FP32", (count,)) for name, count in columns.items() if count)]
