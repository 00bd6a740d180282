"""One ONNX graph of the shipped clinical model, the encoder and the join.

Only `features` must be given: every other input has a default that says "not there". Whoever asks gives what there is of those that the
reference beside the file declares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn

from pipeline.domain import features
from pipeline.domain.model_inputs import CONCEPTS
from pipeline.domain.order_words import BUCKETS
from pipeline.models.artefacts import without_traces
from pipeline.models.finetuning.fusion import Fused
from pipeline.models.finetuning.text import TextPart
from pipeline.models.imaging.export import halve
from pipeline.models.imaging.network import WIDTH, Encoder, Pooled
from pipeline.models.onnx_export import IR_VERSION, exported

_OBSERVABLES, _STATISTICS = len(features.OBSERVABLES), len(features.STATISTICS)
_CLINICAL = "clinical_"
_OUTPUTS = ("risk", "contributions")
_ROWS = "_rows"
"""Behind the name of an input once it has a row for each row of `features`."""


class ImageTower(nn.Module):  # type: ignore[misc]
    """uint8 [n, side, side] to logits [n, 1], the mean of picture and mirror image."""

    weight: Tensor
    bias: Tensor

    def __init__(self, encoder: Encoder, weight: NDArray[np.float64], bias: float) -> None:
        super().__init__()
        self.encoder, self.pooled = encoder, Pooled()
        self.register_buffer("weight", torch.tensor(weight[:, None], dtype=torch.float32))
        self.register_buffer("bias", torch.tensor(bias, dtype=torch.float32))

    def forward(self, image: Tensor) -> Tensor:
        """As the class says."""
        pictures, nothing = image.float()[:, None], torch.zeros((1, WIDTH))
        seen = [self.pooled(self.encoder(view), nothing)[0] for view in (pictures, pictures.flip(3))]
        return ((seen[0] + seen[1]) / 2) @ self.weight + self.bias


class WordsTower(nn.Module):  # type: ignore[misc]
    """tokens [n, BUCKETS] to what they add to the logit [n, 1], as `TextPart.logits` times the part's weight."""

    idf: Tensor
    axes: Tensor
    mean: Tensor
    weight: Tensor

    def __init__(self, part: TextPart, join: float) -> None:
        super().__init__()
        for name, value in (("idf", part.idf), ("axes", part.axes), ("mean", part.mean), ("weight", join * part.weight[:, None])):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def forward(self, tokens: Tensor) -> Tensor:
        """As the class says."""
        weighted = tokens * self.idf
        length = weighted.square().sum(1, keepdim=True).sqrt()
        told = (weighted / length.clamp(min=1e-9)) @ self.axes - self.mean
        return (told @ self.weight) * (length > 0).float()


class Join(nn.Module):  # type: ignore[misc]
    """The parts' logits to risk [n, 1] and contributions [n, groups]: risk minus the risk without that group; the features' groups,
    then the picture's (of a model that reads any), the words' and each further value's: as `model_inputs.groups`.
    """

    mean: Tensor
    size: Tensor
    weight: Tensor
    words: Tensor

    def __init__(self, fused: Fused, farthest: float = 4.0) -> None:
        super().__init__()
        self.sees = sees(fused)
        for name, value in (("mean", fused.values.mean), ("size", fused.values.size), ("weight", fused.values.weight)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        self.register_buffer("words", torch.tensor(fused.words[:, None], dtype=torch.float32))
        self.text = None if fused.text is None else WordsTower(fused.text, fused.join["text"])
        self.join, self.intercept, self.clinical_mean = dict(fused.join), fused.intercept, fused.clinical_mean
        self.farthest = farthest

    def forward(
        self,
        clinical_risk: Tensor,
        clinical_contributions: Tensor,
        features: Tensor,
        image_logit: Tensor,
        has_image: Tensor,
        values: Tensor,
        concepts: Tensor,
        tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All with n rows. tokens: of a model that reads words beyond the concepts."""
        newest = features[:, : _OBSERVABLES * _STATISTICS : _STATISTICS]
        says = self.join["values"] * self._said(torch.cat([newest, values], 1))
        known = (~torch.isnan(features)).any(1, keepdim=True).float()
        clinical = self.join["clinical"] * (_logit(clinical_risk) - self.clinical_mean) * known
        shown, told = self.join["image"] * image_logit * has_image, concepts @ self.words
        if self.text is not None:
            told = told + self.text(tokens)
        total = clinical + says.sum(1, keepdim=True) + shown + told + self.intercept
        risk = torch.sigmoid(total)
        without = self.join["clinical"] * (_logit(clinical_risk - clinical_contributions) - self.clinical_mean) * known
        of_group = torch.cat([says[:, :_OBSERVABLES], torch.zeros_like(features[:, -2:])], 1)
        left_out = torch.sigmoid(total - clinical + without - of_group)
        absent = torch.isnan(torch.cat([newest, features[:, _OBSERVABLES * _STATISTICS :]], 1))
        of_features = torch.where(absent, torch.zeros_like(left_out), risk - left_out)
        further = torch.cat([*([shown] if self.sees else []), told, says[:, _OBSERVABLES:]], 1)
        return risk, torch.cat([of_features, risk - torch.sigmoid(total - further)], 1)

    def _said(self, values: Tensor) -> Tensor:
        missing = torch.isnan(values)
        known = torch.where(missing, torch.zeros_like(values), values)
        shown = (torch.sign(known) * torch.log1p(torch.abs(known)) - self.mean) / self.size
        return torch.where(missing, torch.zeros_like(shown), shown.clamp(-self.farthest, self.farthest)) * self.weight


def sees(fused: Fused) -> bool:
    """Whether anything was learned of pictures, and they have a weight."""
    return fused.image is not None and fused.join["image"] != 0


def tower(fused: Fused) -> ImageTower | None:
    """None for a model that sees nothing."""
    if fused.image is None or not sees(fused):
        return None
    made: ImageTower = ImageTower(fused.image.encoder(), fused.image.readout.weight, fused.image.readout.bias).eval()
    return made


def to_onnx(clinical: bytes, image: ImageTower | None, join: Join, side: int, own_values: int, version: str) -> bytes:
    """`features` [n, …] with the optional `image` [n, side, side], `has_image` [n, 1], `values` [n, own_values], `concepts` [n, …], and of
    a model that reads them `tokens` [n, BUCKETS]."""
    before = compose.add_prefix(onnx.load_from_string(clinical), _CLINICAL, rename_inputs=False)
    after = compose.add_prefix(_exported_join(join, own_values), "join_", rename_inputs=False, rename_outputs=False)
    seen = None if image is None else compose.add_prefix(_exported_tower(image, side), "image_", rename_inputs=False, rename_outputs=False)
    parts = [part for part in (before, seen, after) if part is not None]
    optional = _optional(side, own_values, image is not None, join.text is not None)
    spread = [*_spread([name for name in optional if name != "image"]), *(_looked_at() if image is not None else [])]
    passed = [_unprefixed(one) for one in before.graph.output if one.name.removeprefix(_CLINICAL) not in _OUTPUTS]
    graph = helper.make_graph(
        [*before.graph.node, *(seen.graph.node if seen is not None else ()), *spread, *after.graph.node, *_passed_on(passed)],
        "readfirst_finetuned",
        [before.graph.input[0], *(_typed(name, default) for name, default in optional.items())],
        [*after.graph.output, *passed],
        [
            *(one for part in parts for one in part.graph.initializer),
            *_constants(optional),
        ],
    )
    model = helper.make_model(graph, opset_imports=_opsets(parts), functions=[f for part in parts for f in part.functions])
    model.ir_version, model.producer_name = IR_VERSION, "readfirst"
    helper.set_model_props(model, {"model_version": version, "feature_layout": str(features.LAYOUT_VERSION)})
    without_traces(model.graph)
    onnx.checker.check_model(model, full_check=True)
    body: bytes = model.SerializeToString()
    return body


def _optional(side: int, own_values: int, with_image: bool, with_words: bool) -> dict[str, NDArray[Any]]:
    """Inputs with what they are where nothing is given: the one row that stands for every row, and no picture at all."""
    others = {
        "has_image": np.zeros((1, 1), np.float32),
        "values": np.full((1, own_values), np.nan, np.float32),
        "concepts": np.zeros((1, len(CONCEPTS)), np.float32),
        **({"tokens": np.zeros((1, BUCKETS), np.float32)} if with_words else {}),
    }
    return {**({"image": np.zeros((0, side, side), np.uint8)} if with_image else {"image_logit": np.zeros((1, 1), np.float32)}), **others}


def _typed(name: str, default: NDArray[Any]) -> onnx.ValueInfoProto:
    kind = TensorProto.UINT8 if default.dtype == np.uint8 else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, [f"{name}{_ROWS}", *default.shape[1:]])


def _unprefixed(output: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """What the clinical model says beside its risk (its spread, how new the patient is to it) holds for it as a part, too."""
    named = onnx.ValueInfoProto()
    named.CopyFrom(output)
    named.name = output.name.removeprefix(_CLINICAL)
    return named


def _passed_on(outputs: list[onnx.ValueInfoProto]) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", [f"{_CLINICAL}{one.name}"], [one.name]) for one in outputs]


def _constants(optional: dict[str, NDArray[Any]]) -> list[TensorProto]:
    own = {"one": np.ones(1, np.int64), "nought": np.zeros(1, np.int64), "nothing_seen": np.zeros((1, 1), np.float32)}
    return [numpy_helper.from_array(value, name) for name, value in {**optional, **own}.items()]


def _spread(names: list[str]) -> list[onnx.NodeProto]:
    """One row, or as many as `features` has, as many as `features` has."""
    nodes = [
        helper.make_node("Shape", ["features"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "one"], ["batch_by_one"], axis=0),
    ]
    return [*nodes, *(helper.make_node("Expand", [name, "batch_by_one"], [f"{name}{_ROWS}"]) for name in names)]


def _looked_at() -> list[onnx.NodeProto]:
    """Of every row what its picture says, or nothing: without pictures there is no row to look at, and a look is what costs."""
    return [
        helper.make_node("Expand", ["nothing_seen", "batch_by_one"], ["nothing_seen_rows"]),
        helper.make_node("Concat", ["image_logit", "nothing_seen_rows"], ["image_logit_or_nothing"], axis=0),
        helper.make_node("Slice", ["image_logit_or_nothing", "nought", "batch"], [f"image_logit{_ROWS}"]),
    ]


def _opsets(parts: list[onnx.ModelProto]) -> list[onnx.OperatorSetIdProto]:
    found = {one.domain: one.version for part in parts for one in part.opset_import}
    return [helper.make_opsetid(domain, version) for domain, version in found.items()]


def _exported_tower(image: ImageTower, side: int) -> onnx.ModelProto:
    model = _exported(image, (torch.zeros((3, side, side), dtype=torch.uint8),), ["image"], ["image_logit"])
    halve(model.graph)
    return model


def _exported_join(join: Join, own_values: int) -> onnx.ModelProto:
    words = () if join.text is None else (BUCKETS,)
    widths = (1, len(features.GROUPS), len(features.NAMES), 1, 1, own_values, len(CONCEPTS), *words)
    names = [
        "clinical_risk",
        "clinical_contributions",
        "features",
        *(f"{one}{_ROWS}" for one in ("image_logit", "has_image", "values", "concepts", *(("tokens",) if words else ()))),
    ]
    return _exported(join, tuple(torch.full((3, width), 0.5) for width in widths), names, list(_OUTPUTS))


def _exported(module: nn.Module, sample: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    batch = torch.export.Dim("batch", min=1)
    return exported(module, sample, inputs, outputs, tuple({0: batch} for _ in sample))


def _logit(probability: Tensor) -> Tensor:
    bounded = probability.clamp(1e-6, 1 - 1e-6)
    return torch.log(bounded / (1 - bounded))
