"""What the shipped clinical model's two parts say of rows, each stay by those members alone that have not seen it. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import features
from pipeline.models.clinical.dataset import Matrix
from pipeline.models.clinical.recipe import Recipe

_PARTS = ("network_logits", "tree_logits")
_BATCH = 64


class Parts:
    """The graph of a clinical artefact, asked for what lies before its last step."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        graph = onnx.load(folder / MODEL_FILE)
        del graph.graph.output[:]
        graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in _PARTS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def logits(self, x: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[n, members] of the set network and [n, boosters] of the trees."""
        network, trees = [], []
        for part in np.array_split(x, max(1, len(x) // _BATCH)):
            by_network, by_trees = self.session.run(list(_PARTS), {"features": part})
            network.append(by_network[:, 0])
            trees.append(by_trees.reshape(len(part), len(features.GROUPS) + 1, -1)[:, 0])
        return np.concatenate(network), np.concatenate(trees)


def unseen(logits: NDArray[np.floating], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """[n]: the mean of those members that were trained without the row's fold."""
    apart = np.arange(logits.shape[1]) % Recipe().folds == fold[:, None]
    mean: NDArray[np.float64] = (logits * apart).sum(1) / apart.sum(1)
    return mean
