"""A second image head, as small as one can be: nothing but its folder tells Readfirst of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.adapters.onnx.heads import REFERENCE_FILE, load
from pipeline.adapters.onnx.pictures import OnnxHead
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.models.artefacts import pretty
from pipeline.models.imaging.acceptance import ACCEPTANCE_FILE, expected

NAME, SIDE = "hand", 32


def write(heads: Path) -> None:
    """Card, weights, preprocessing (the side), scope and acceptance test, into a folder of their own in `heads`. Needs onnx."""
    folder = heads / NAME
    folder.mkdir()
    weights = _weights()
    (folder / MODEL_FILE).write_bytes(weights)
    (folder / "CARD.md").write_text("# Image head: hand, version 7\n\nBrighter than half: broken. Of no worth.\n")
    described = {
        "head": NAME,
        "version": "7",
        "side": SIDE,
        "expects": "a hand",
        "findings": [{"code": "fracture", "label": "fracture", "prevalence": 0.2, "ranks": True}],
        "sha256": hashlib.sha256(weights).hexdigest(),
        "scope": {"modalities": ["CR"], "body_parts": ["HAND"], "views": ["PA", None]},
    }
    (folder / REFERENCE_FILE).write_text(json.dumps(described))
    (folder / ACCEPTANCE_FILE).write_bytes(pretty(expected(OnnxHead(load(NAME, heads)))))


def _weights() -> bytes:
    """A fracture is the brighter the likelier; an even picture is no hand; the map is the picture, coarse."""
    onnx = pytest.importorskip("onnx", reason="the extra `train` (onnx) is not installed")
    node, value, numbers = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.helper.make_tensor
    kind = onnx.TensorProto
    constants = {"half": [128.0], "width": [40.0], "one": [1.0], "ten": [10.0]}
    nodes = [
        node("Cast", ["image"], ["x"], to=kind.FLOAT),
        node("Unsqueeze", ["x", "first"], ["planes"]),
        node("GlobalAveragePool", ["planes"], ["mean4"]),
        node("Sub", ["planes", "mean4"], ["centred"]),
        node("Mul", ["centred", "centred"], ["square"]),
        node("GlobalAveragePool", ["square"], ["variance4"]),
        node("Flatten", ["mean4"], ["mean"]),
        node("Flatten", ["variance4"], ["variance"]),
        node("Sub", ["mean", "half"], ["above"]),
        node("Div", ["above", "width"], ["logit"]),
        node("Sigmoid", ["logit"], ["findings"]),
        node("Sqrt", ["variance"], ["deviation"]),
        node("Add", ["deviation", "one"], ["contrast"]),
        node("Div", ["ten", "contrast"], ["unlikeness"]),
        node("AveragePool", ["planes"], ["activation"], kernel_shape=[SIDE // 2] * 2, strides=[SIDE // 2] * 2),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        NAME,
        [value("image", kind.UINT8, ["batch", SIDE, SIDE])],
        [
            value("findings", kind.FLOAT, ["batch", 1]),
            value("unlikeness", kind.FLOAT, ["batch", 1]),
            value("activation", kind.FLOAT, ["batch", 1, 2, 2]),
        ],
        [
            *(numbers(name, kind.FLOAT, [1], one) for name, one in constants.items()),
            numbers("first", kind.INT64, [1], [1]),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    body: bytes = model.SerializeToString()
    return body
