"""A site's own version of the risk model, as small as one can be: it reads a film, words and further values, and needs no training.

`small_version.onnx` is what `made` makes, kept so that a test with a whole stack needs no extra. Run this module to write it anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import features, model_inputs
from pipeline.domain.model_inputs import CONCEPTS, VALUES

FILE = Path(__file__).with_name("small_version.onnx")
SIDE = 64
BRIGHT, WORD, POTASSIUM, FURTHER = 1.0, 0.8, 0.3, 0.01
"""What each adds to the logit: a white film, one word, 1 mmol/L of potassium, a unit of any further value."""
GROUPS = (*features.GROUPS, model_inputs.IMAGE, model_inputs.WORDS, *VALUES)


def write(folder: Path, version: str) -> Path:
    """Its folder below `folder`, as `finetune` writes one."""
    body = FILE.read_bytes()
    told = {"version": version, "outcome": "an invented outcome", "sha256": hashlib.sha256(body).hexdigest()}
    read = {"side": SIDE, "values": VALUES, "concepts": CONCEPTS, "groups": GROUPS}
    target = folder / f"small-{version}"
    target.mkdir()
    (target / MODEL_FILE).write_bytes(body)
    (target / artefact.REFERENCE_FILE).write_bytes(msgspec.json.encode(msgspec.structs.replace(artefact.load_reference(), **told, **read)))
    return target


def made() -> bytes:
    """The graph: a sum of what there is, and every part of it told. Needs onnx."""
    from onnx import TensorProto, helper, numpy_helper

    places = {name: GROUPS.index(name) for name in ("potassium", model_inputs.IMAGE, model_inputs.WORDS)}
    constants: dict[str, Any] = {
        **{f"{name}_place": _row(place) for name, place in places.items()},
        "further_place": np.eye(len(GROUPS), dtype=np.float32)[-len(VALUES) :] * np.float32(FURTHER),
        "where": np.array([features.NAMES.index("potassium.last")]),
        "each": np.full((len(CONCEPTS), 1), WORD, np.float32),
        "white": np.array(BRIGHT / 255, np.float32),
        "slope": np.array(POTASSIUM, np.float32),
        "nothing": np.array(0, np.float32),
        "low": np.array(-4, np.float32),
        "rows": np.array([1]),
        "plane": np.array([1, 2]),
    }
    absent = {
        "values": np.full((1, len(VALUES)), np.nan, np.float32),
        "concepts": np.zeros((1, len(CONCEPTS)), np.float32),
        "image": np.zeros((1, SIDE, SIDE), np.uint8),
        "has_image": np.zeros((1, 1), np.float32),
    }
    node, value = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Gather", ["features", "where"], ["level"], axis=1),
        node("IsNaN", ["level"], ["unknown"]),
        node("Where", ["unknown", "nothing", "level"], ["known"]),
        node("Mul", ["known", "slope"], ["potassium_"]),
        node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        node("ReduceMean", ["grey", "plane"], ["mean"], keepdims=0),
        node("Unsqueeze", ["mean", "rows"], ["brightness"]),
        node("Mul", ["brightness", "white"], ["bright"]),
        node("Mul", ["bright", "has_image"], ["image_"]),
        node("MatMul", ["concepts", "each"], ["words_"]),
        node("IsNaN", ["values"], ["gaps"]),
        node("Where", ["gaps", "nothing", "values"], ["further_"]),
        *(node("MatMul", [f"{name}_", f"{name}_place"], [f"{name}_told"]) for name in (*places, "further")),
        node("Sum", [f"{name}_told" for name in (*places, "further")], ["contributions"]),
        node("ReduceSum", ["contributions", "rows"], ["sum"], keepdims=1),
        node("Add", ["sum", "low"], ["logit"]),
        node("Sigmoid", ["logit"], ["risk"]),
        node("Mul", ["sum", "nothing"], ["spread"]),
        node("Identity", ["spread"], ["novelty"]),
    ]
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8}
    shapes = {"risk": 1, "contributions": len(GROUPS), "spread": 1, "novelty": 1}
    graph = helper.make_graph(
        nodes,
        "small",
        [
            value("features", TensorProto.FLOAT, ["n", len(features.NAMES)]),
            *(value(name, kinds[one.dtype], ["n", *one.shape[1:]]) for name, one in absent.items()),
        ],
        [value(name, TensorProto.FLOAT, ["n", size]) for name, size in shapes.items()],
        [numpy_helper.from_array(one, name) for name, one in {**constants, **absent}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="readfirst")
    body: bytes = model.SerializeToString()
    return body


def _row(place: int) -> np.ndarray[Any, Any]:
    """1 for the group at `place`."""
    return np.eye(len(GROUPS), dtype=np.float32)[place : place + 1]


if __name__ == "__main__":
    FILE.write_bytes(made())
