"""Gradient boosted trees on the same rows as the network, one model for each fold and seed, and their ONNX form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import lightgbm
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pipeline.models.clinical import masking
from pipeline.models.clinical.dataset import Examples, Matrix
from pipeline.models.clinical.recipe import Recipe

Progress = Callable[[int, int], None]
ML_OPSET = 3


def grow(examples: Examples, fold: NDArray[np.int64], recipe: Recipe, progress: Progress = lambda done, of: None) -> list[Any]:
    """`recipe.tree_seeds` x `recipe.folds` boosters; booster m never sees the stays of fold m modulo folds."""
    boosters = []
    for member in range(recipe.tree_seeds * recipe.folds):
        boosters.append(_grow(examples, fold != member % recipe.folds, recipe, recipe.seed + member))
        progress(member + 1, recipe.tree_seeds * recipe.folds)
    return boosters


def logits(boosters: Sequence[Any], x: Matrix) -> NDArray[np.float32]:
    """[rows, boosters]: log odds."""
    return np.column_stack([booster.predict(x, raw_score=True) for booster in boosters]).astype(np.float32)


def _grow(examples: Examples, seen: NDArray[np.bool_], recipe: Recipe, seed: int) -> Any:
    x, died, weight = _rows(examples, seen, np.random.default_rng(seed))
    settings = {
        "objective": "binary",
        "learning_rate": recipe.tree_learning_rate,
        "num_leaves": recipe.leaves,
        "min_child_samples": 20,
        "feature_fraction": 0.15,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": recipe.threads,
        "verbosity": -1,
    }
    return lightgbm.train(settings, lightgbm.Dataset(x, died, weight=weight), recipe.rounds)


def _rows(examples: Examples, seen: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Matrix, NDArray[np.bool_], Matrix]:
    """The stays at 48 h whole, at 48 h with observables taken away, and at their earlier moments; the three parts weigh 1 : 1/2 : 1."""
    end = examples.at_end & seen[examples.stay]
    earlier = ~examples.at_end & seen[examples.stay]
    parts = [(examples.x[end], end, 1.0), (masking.at_random(examples.x[end], rng), end, 0.5)]
    if earlier.any():
        parts.append((masking.at_random(examples.x[earlier], rng), earlier, float(end.sum() / earlier.sum())))
    weight = np.concatenate([np.full(len(x), share, dtype=np.float32) for x, _, share in parts])
    return np.concatenate([x for x, _, _ in parts]), np.concatenate([examples.died[rows] for _, rows, _ in parts]), weight


def to_onnx(boosters: Sequence[Any], columns: int, opset: int) -> onnx.ModelProto:
    """Input `variants` float32 [n, columns], NaN = absent; output `tree_logits` [n, boosters]: one TreeEnsembleRegressor for all."""
    merged: dict[str, Any] = {}
    for number, booster in enumerate(boosters):
        part, trees = _ensemble(booster, columns), len(set(merged.get("nodes_treeids", ())))
        for name in ("nodes_treeids", "target_treeids"):
            part[name] = [tree + trees for tree in part[name]]
        part["target_ids"] = [number] * len(part["target_ids"])
        for name, values in part.items():
            merged.setdefault(name, []).extend(values)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["variants"],
        ["tree_logits"],
        domain="ai.onnx.ml",
        n_targets=len(boosters),
        post_transform="NONE",
        **merged,
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("variants", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("tree_logits", TensorProto.FLOAT, [None, len(boosters)])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ML_OPSET)])


def _ensemble(booster: Any, columns: int) -> dict[str, list[Any]]:
    """The attributes of the classifier that onnxmltools makes of a booster, as those of a regressor of its log odds."""
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    single = lightgbm.Booster(model_str=_THRESHOLDS.sub(_rounded_down, _SIZES.sub("", booster.model_to_string())))
    converted = convert_lightgbm(single, initial_types=[("x", FloatTensorType([None, columns]))], zipmap=False, target_opset=15)
    node = next(node for node in converted.graph.node if node.op_type == "TreeEnsembleClassifier")
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kept = {name: list(values) for name, values in attributes.items() if name.startswith("nodes_") and name != "nodes_hitrates"}
    return kept | {f"target_{part}": list(attributes[f"class_{part}"]) for part in ("ids", "nodeids", "treeids", "weights")}


_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)
"""Where each tree begins in the text: not where it will any more; LightGBM finds them without."""
_THRESHOLDS = re.compile(r"^threshold=(.*)$", re.MULTILINE)


def _rounded_down(line: re.Match[str]) -> str:
    """Each threshold as the greatest float32 not above it: then every float32 falls on the same side of it as in double precision."""
    exact = np.array([float(word) for word in line[1].split()])
    near = exact.astype(np.float32)
    below = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
    return "threshold=" + " ".join(repr(float(value)) for value in below)
