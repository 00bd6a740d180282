"""From the data folder to a finished head: features, read-outs, out-of-distribution check, export, figures, card."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from pipeline.adapters.onnx.heads import REFERENCE_FILE, load
from pipeline.adapters.onnx.pictures import OUTPUTS, OnnxHead
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain.image_answer import HeadFinding, HeadReference
from pipeline.models.evaluation.discrimination import auc
from pipeline.models.imaging import card, evaluation, export, films, foreign, likeness, readout
from pipeline.models.imaging.acceptance import ACCEPTANCE_FILE, expected
from pipeline.models.imaging.embedding import Progress, features, thumbnails
from pipeline.models.imaging.evaluation import RIDGE_IMAGE
from pipeline.models.imaging.films import Films, Mask
from pipeline.models.imaging.likeness import Seen
from pipeline.models.imaging.network import Encoder, ImageHead, Likeness

HEAD = "chest_frontal"
VERSION = "1"
EXPECTS = "an upright frontal chest radiograph"
METRICS_FILE, CARD_FILE = "metrics.json", "CARD.md"
RIDGES = (30.0, 100.0, 200.0, 500.0)
"""Tried by cross-validation inside the training patients; the figures stand in the card."""
_FOREIGN_EVERY = 6

Matrix = NDArray[np.float64]
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Set:
    """Films with their features. fold, held_out: by patient."""

    films: Films
    features: Matrix
    fold: NDArray[np.int64]
    held_out: Mask

    @property
    def train(self) -> Mask:
        return ~self.held_out


def build(
    data: Path,
    out: Path,
    side: int = 224,
    most: int | None = None,
    step: Step = lambda what: None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Writes the head into `out`/chest_frontal and returns the metrics. `most`: films of each set, for a quick trial. Raises NotFound."""
    encoder = Encoder()
    step("reading films")
    read = (("nih", films.nih(data, side)), ("hannover", films.hannover(data, side)))
    nih, hannover = (_embedded(name, _some(whole, most), encoder, step, progress) for name, whole in read)
    step("fitting")
    tried = {str(ridge): round(auc(*_crossed(nih, ridge)), 4) for ridge in RIDGES}
    head = _head(encoder, nih, hannover)
    step("exporting")
    folder = out / HEAD
    folder.mkdir(parents=True, exist_ok=True)
    body = export.to_onnx(head, side, VERSION)
    (folder / MODEL_FILE).write_bytes(body)
    (folder / REFERENCE_FILE).write_bytes(_pretty(_reference(nih, hannover, side, body)))
    shipped = OnnxHead(load(HEAD, out), threads=2)
    (folder / ACCEPTANCE_FILE).write_bytes(_pretty(expected(shipped)))
    step("testing on patients held out")
    metrics = {
        "nih": evaluation.nih(shipped, data),
        "nih_cross_validation_auc_by_ridge": tried,
        "hannover": evaluation.of_hannover(hannover.films, hannover.features),
        "ood": evaluation.ood(shipped, data),
        "onnx_max_difference": difference(head, shipped, nih.films.pictures[:4]),
        "bytes": len(body),
        "opset": export.OPSET,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "onnxruntime": onnxruntime.__version__},
    }
    (folder / METRICS_FILE).write_bytes(_pretty(metrics))
    (folder / CARD_FILE).write_text(card.render(metrics, shipped.reference))
    return metrics


def difference(head: ImageHead, shipped: OnnxHead, pictures: films.Pictures) -> float:
    """The largest difference of a probability, an unlikeness or a feature between torch and the file, relative where values exceed 1."""
    with torch.inference_mode():
        ours = [answer.numpy() for answer in head(torch.from_numpy(pictures))]
    theirs = shipped.run(pictures, OUTPUTS)
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(a))).max()) for a, b in zip(ours, theirs, strict=True))


def _some(whole: Films, most: int | None) -> Films:
    return whole if most is None else whole.chosen(np.arange(len(whole)) % max(1, len(whole) // most) == 0)


def _embedded(name: str, part: Films, encoder: Encoder, step: Step, progress: Progress) -> _Set:
    step(f"looking at {name}")
    export.round_weights(encoder)
    seen = features(encoder, part.pictures, progress)
    return _Set(part, seen, films.folds(part.patient, name), films.held_out(part.patient, name))


def _crossed(part: _Set, ridge: float, rows: Mask | None = None) -> tuple[Mask, Matrix]:
    rows = part.train if rows is None else rows
    positive = part.films.positive[rows]
    return positive, readout.crossed(part.features[rows], positive, part.fold[rows], ridge)


def _head(encoder: Encoder, nih: _Set, hannover: _Set) -> ImageHead:
    """NIH's finding is learned without the patients held out; intensive care, with 71 patients, on all of them."""
    linear, slopes = [], []
    for part, rows in ((nih, nih.train), (hannover, np.ones(len(hannover.films), bool))):
        linear.append(readout.fit(part.features[rows], part.films.positive[rows], RIDGE_IMAGE))
        positive, logits = _crossed(part, RIDGE_IMAGE, rows)
        slopes.append(readout.platt(logits, positive))
    head: ImageHead = ImageHead(
        encoder,
        torch.tensor(np.stack([one.weight for one in linear]), dtype=torch.float32),
        torch.tensor([one.bias for one in linear], dtype=torch.float32),
        torch.tensor(slopes, dtype=torch.float32),
        _likeness(nih, hannover),
    )
    return head


def _likeness(nih: _Set, hannover: _Set) -> Likeness:
    """One fold of the training patients sets the limit; those held out have no part in it."""
    known, unseen, spoiled = [], [], []
    for part in (nih, hannover):
        seen = Seen(thumbnails(part.films.pictures), part.features)
        learned = part.train & (part.fold != 0)
        known.append(seen.chosen(learned))
        unseen.append(seen.chosen(part.train & (part.fold == 0)))
        spoiled.append(part.films.pictures[learned][::_FOREIGN_EVERY])
    strange = foreign.spoiled(np.concatenate(spoiled), tuple(foreign.WAYS), 0)
    return likeness.fit(_joined(known), thumbnails(strange), _joined(unseen))


def _joined(parts: list[Seen]) -> Seen:
    return Seen(np.vstack([part.small for part in parts]), np.vstack([part.features for part in parts]))


def _reference(nih: _Set, hannover: _Set, side: int, body: bytes) -> HeadReference:
    share = round(float(nih.films.positive[nih.train].mean()), 4)
    return HeadReference(
        head=HEAD,
        version=VERSION,
        side=side,
        expects=EXPECTS,
        findings=(
            HeadFinding(code="pneumonia", label="pneumonia", prevalence=share, ranks=True),
            HeadFinding(
                code="intensive-care-7d",
                label="intensive care now or within 7 days (COVID-19)",
                prevalence=round(float(hannover.films.positive.mean()), 4),
                ranks=False,
            ),
        ),
        sha256=hashlib.sha256(body).hexdigest(),
    )


def _pretty(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
