"""The members and the calibration of every subset of inputs as one ONNX graph, which any onnxruntime since 1.17 can run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.artefacts import without_traces
from pipeline.models.imaging.network import WIDTH
from pipeline.models.multimodal.events import CODES, MODALITIES, MODALITY_OF_OBSERVABLE, NUMBERS, OBSERVABLE_OF_CODE
from pipeline.models.multimodal.network import EventNetwork
from pipeline.models.multimodal.rows import OUTPUTS, PARTS
from pipeline.models.onnx_export import IR_VERSION, exported

INPUTS, ANSWERS = ("code", "numbers", "image"), ("probability", "spread")
_MOST_PARTS = max(len(parts) for parts in PARTS)


class Answer(nn.Module):  # type: ignore[misc]
    """What is exported: code, numbers and image as `EventNetwork` takes them to probabilities [n, OUTPUTS] and their spread, likewise."""

    modality: Tensor
    part: Tensor
    place: Tensor
    calibration: Tensor

    def __init__(self, members: Sequence[EventNetwork], calibration: NDArray[np.floating]) -> None:
        """calibration: [OUTPUTS, choices of inputs, slope intercept]; of choice i its inputs are the bits of i, in the order of PARTS."""
        super().__init__()
        self.members = nn.ModuleList(members)
        known = np.zeros((len(CODES), len(MODALITIES)), np.float32)
        known[np.arange(1, len(CODES)), MODALITY_OF_OBSERVABLE[OBSERVABLE_OF_CODE[1:]]] = 1
        part = np.zeros((len(MODALITIES) + 1, len(OUTPUTS) * _MOST_PARTS), np.float32)
        for output, parts in enumerate(PARTS):
            for place, names in enumerate(parts.values()):
                part[[[*MODALITIES, "image"].index(name) for name in names], output * _MOST_PARTS + place] = 1
        self.register_buffer("modality", torch.from_numpy(known) * members[0].seen[:, None])
        self.register_buffer("part", torch.from_numpy(part))
        self.register_buffer("place", torch.tensor([1 << place for place in range(_MOST_PARTS)]))
        self.register_buffer("calibration", torch.from_numpy(calibration.astype(np.float32)))

    def forward(self, code: Tensor, numbers: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """spread: half the width of the probability between one standard deviation of the members either way."""
        logits = torch.stack([member(code, numbers, image) for member in self.members])
        told = functional.embedding(code, self.modality).amax(1)
        film = (~torch.isnan(image[:, :1])).to(told.dtype)
        parts = (torch.matmul(torch.cat([told, film], 1), self.part) > 0).unflatten(1, (len(OUTPUTS), _MOST_PARTS))
        chosen = (parts * self.place).sum(-1)
        slope, intercept = self.calibration.flatten(0, 1)[chosen + self.first()].unbind(-1)
        mean = logits.mean(0)
        logit, either_way = slope * mean + intercept, slope * ((logits - mean).square().mean(0) + 1e-12).sqrt()
        return torch.sigmoid(logit), (torch.sigmoid(logit + either_way) - torch.sigmoid(logit - either_way)) / 2

    def first(self) -> Tensor:
        """[OUTPUTS]: where each output's choices begin."""
        return torch.arange(len(OUTPUTS)) * self.calibration.shape[1]


def to_onnx(answer: Answer) -> bytes:
    """INPUTS: int64 [batch, events], float32 [batch, events, NUMBERS], float32 [batch, WIDTH]. ANSWERS: float32 [batch, OUTPUTS]."""
    rows, events = 4, 7
    asked = (torch.zeros((rows, events), dtype=torch.int64), torch.ones((rows, events, len(NUMBERS))), torch.zeros((rows, WIDTH)))
    batch, many = torch.export.Dim("batch", min=1), torch.export.Dim("events", min=1)
    dynamic = {"code": {0: batch, 1: many}, "numbers": {0: batch, 1: many}, "image": {0: batch}}
    graph = exported(answer, asked, INPUTS, ANSWERS, dynamic)
    graph.ir_version, graph.producer_name = IR_VERSION, "readfirst"
    without_traces(graph.graph)
    onnx.helper.set_model_props(graph, {"outputs": ",".join(OUTPUTS), "codes": ",".join(CODES)})
    onnx.checker.check_model(graph, full_check=True)
    body: bytes = graph.SerializeToString()
    return body
