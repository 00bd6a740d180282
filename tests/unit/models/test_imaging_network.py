"""The head's graph: torch and ONNX agree, maps add up to their finding, and its weights survive half precision."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `train` is not installed")

from pipeline.adapters.onnx.heads import Head  # noqa: E402
from pipeline.adapters.onnx.pictures import OUTPUTS, OnnxHead  # noqa: E402
from pipeline.domain.image_answer import HeadFinding, HeadReference  # noqa: E402
from pipeline.models.imaging import export, likeness  # noqa: E402
from pipeline.models.imaging.build import difference  # noqa: E402
from pipeline.models.imaging.network import THUMBNAIL, WIDTH, Encoder, ImageHead  # noqa: E402

SIDE = 96


def made() -> ImageHead:
    """The real encoder under read-outs by chance."""
    rng = np.random.default_rng(3)
    encoder = Encoder()
    export.round_weights(encoder)
    films = likeness.Seen(rng.random((60, THUMBNAIL**2)), rng.normal(size=(60, WIDTH)))
    weights = torch.tensor(rng.normal(size=(2, WIDTH)) / WIDTH, dtype=torch.float32)
    check = likeness.fit(films, rng.random((60, THUMBNAIL**2)), films)
    platt, members = torch.tensor([[1.2, 0.1], [0.8, 0.0]]), torch.tensor(rng.normal(size=(WIDTH, 6)) / WIDTH, dtype=torch.float32)
    return ImageHead(encoder, weights, torch.tensor([0.1, -0.2]), platt, check, members, torch.zeros(6))


def test_the_file_says_what_torch_says_and_maps_add_up(tmp_path: Path) -> None:
    """To 1e-4, relative where numbers exceed 1; a map's mean with the bias is the logit, so that it shows where a finding comes from."""
    head, pictures = made(), np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    body = export.to_onnx(head, SIDE, "1")
    assert b"pipeline/models" not in body, "no paths of this machine"
    findings = tuple(HeadFinding(code=name, label=name, prevalence=0.5, ranks=True) for name in "ab")
    reference = HeadReference(head="t", version="1", side=SIDE, expects="x", findings=findings, sha256=hashlib.sha256(body).hexdigest())
    shipped = OnnxHead(Head(reference, body))

    assert difference(head, shipped, pictures) < 1e-4
    probability, _, maps, features, spread = shipped.run(pictures, OUTPUTS)
    each = (features @ head.members.numpy()).reshape(3, 2, 3)
    either_way = each.std(2, ddof=1) * head.platt[:, 0].numpy()
    middle = np.log(probability / (1 - probability))
    width = 1 / (1 + np.exp(-(middle + either_way))) - 1 / (1 + np.exp(-(middle - either_way)))
    assert spread.min() > 0 and np.abs(spread - width / 2).max() < 1e-4
    logits = maps.mean((2, 3)) + head.bias.numpy()
    expected = 1 / (1 + np.exp(-(logits * head.platt[:, 0].numpy() + head.platt[:, 1].numpy())))
    assert np.abs(probability - expected).max() < 1e-4
    assert len(body) < 7_000_000
