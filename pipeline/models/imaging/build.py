"""From the data folder to a finished head: features, read-outs, out-of-distribution check, export, figures, card."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from pipeline.adapters.onnx.heads import DISTRIBUTION_FILE, HEADS, REFERENCE_FILE, load
from pipeline.adapters.onnx.pictures import OUTPUTS, OnnxHead
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import drift
from pipeline.domain.image_answer import HeadFinding, HeadReference
from pipeline.models.artefacts import pretty
from pipeline.models.evaluation.discrimination import auc
from pipeline.models.evaluation.summary import subgroups, thirds
from pipeline.models.imaging import attention, card, evaluation, export, films, foreign, likeness, readout, rivals
from pipeline.models.imaging.acceptance import ACCEPTANCE_FILE, expected
from pipeline.models.imaging.distribution import distribution
from pipeline.models.imaging.embedding import Progress, embedded, thumbnails
from pipeline.models.imaging.evaluation import RIDGE_IMAGE
from pipeline.models.imaging.films import Films, Mask
from pipeline.models.imaging.likeness import Seen
from pipeline.models.imaging.network import Encoder, ImageHead, Likeness
from pipeline.models.imaging.recipe import CARD_FILE, COMPARED, EXPECTS, FINDINGS, HEAD, METRICS_FILE, RIDGES, SCOPE, SEED, TASKS, VERSION
from pipeline.models.onnx_export import OPSET

_FOREIGN_EVERY = 6

Matrix = NDArray[np.float64]
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Set:
    """Films with their features. maps: before the encoder's end, as `embedded` gives them. fold, held_out: by patient."""

    films: Films
    features: Matrix
    maps: NDArray[np.float32]
    fold: NDArray[np.int64]
    held_out: Mask

    @property
    def train(self) -> Mask:
        return ~self.held_out

    def seen(self, rows: Mask) -> Seen:
        return Seen(thumbnails(self.films.pictures[rows]), self.features[rows])


def build(
    data: Path,
    out: Path,
    side: int = 224,
    most: int | None = None,
    seed: int = SEED,
    step: Step = lambda what: None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Writes the head into a folder of its name in `out` and returns the metrics. `most`: films a set, for a trial. Raises NotFound.

    seed: 1 or more; of what ships, SEED.
    """
    encoder = Encoder()
    step("reading films")
    read = (("nih", films.nih(data, side, most)), ("hannover", films.hannover(data, side, most)))
    nih, hannover = (_embedded(name, whole, encoder, step, progress) for name, whole in read)
    step("fitting")
    compared = _chosen(nih, seed) if most else {**_chosen(nih, seed), **_compared(nih, hannover, seed, step)}
    head, made_on = _head(encoder, nih, hannover, seed)
    step("exporting")
    folder = out / HEAD
    folder.mkdir(parents=True, exist_ok=True)
    body = export.to_onnx(head, side, VERSION)
    (folder / MODEL_FILE).write_bytes(body)
    (folder / REFERENCE_FILE).write_bytes(pretty(_reference(nih, hannover, side, body)))
    (folder / DISTRIBUTION_FILE).write_bytes(pretty(made_on))
    shipped = OnnxHead(load(HEAD, out), threads=2)
    (folder / ACCEPTANCE_FILE).write_bytes(pretty(expected(shipped)))
    step("testing on patients held out")
    held_out = evaluation.of_nih(evaluation.held_out(shipped, data, most))
    metrics = {
        "nih": held_out,
        "nih_held_out_uses": [
            *evaluation.held_out_uses(HEADS / HEAD),
            {"why": "a training" if most is None else "a trial", "auc": held_out["auc"]},
        ],
        **compared,
        "hannover": evaluation.of_hannover(evaluation.crossed(hannover.films, hannover.features)),
        "ood": evaluation.ood(shipped, data, evaluation.looked(shipped, data, most)),
        "onnx_max_difference": difference(head, shipped, nih.films.pictures[:4]),
        "bytes": len(body),
        "opset": OPSET,
        **({"seed": seed} if seed != SEED else {}),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "onnxruntime": onnxruntime.__version__},
    }
    (folder / METRICS_FILE).write_bytes(pretty(metrics))
    (folder / CARD_FILE).write_text(card.render(metrics, shipped.reference))
    return metrics


def _chosen(nih: _Set, seed: int) -> dict[str, Any]:
    """By cross-validation inside the training patients: the ridge, and what the spread is worth."""
    train = nih.films.chosen(nih.train)
    return {
        "nih_cross_validation_auc_by_ridge": {str(ridge): round(auc(*_crossed(nih, ridge)), 4) for ridge in RIDGES},
        "nih_cross_validation_spread": spread_crossed(train, nih.features[nih.train], nih.fold[nih.train], seed),
    }


def _compared(nih: _Set, hannover: _Set, seed: int, step: Step) -> dict[str, Any]:
    """By cross-validation inside the training patients, and over Hannover's: what else could ship. Not in a trial: it takes minutes."""
    positive, shipped = _crossed(nih, RIDGE_IMAGE)
    train = nih.films.chosen(nih.train)
    told = rivals.crossed(train, nih.features[nih.train], nih.maps[nih.train], nih.fold[nih.train], RIDGE_IMAGE, step, seed)
    step("rival: attention")
    return {
        "nih_cross_validation_rivals": {
            name: {"auc": round(auc(positive, logits), 4), "minus_shipped_95": evaluation.minus(positive, logits, shipped, train.patient)}
            for name, logits in told.items()
        },
        "hannover_attention": attention.compared(hannover.films, hannover.features, seed),
    }


def spread_crossed(train: Films, features: Matrix, fold: NDArray[np.int64], seed: int = SEED) -> dict[str, Any]:
    """Out of fold: figures by third of the spread, and how well it tells the films that are judged wrongly, beside nearness to even odds
    and the members' deviation in log odds (0.5: by chance)."""
    positive, logits, members = train.positive, np.zeros(len(train)), np.zeros((len(train), readout.MEMBERS))
    for one in np.unique(fold):
        rest, test = fold != one, fold == one
        logits[test] = readout.fit(features[rest], positive[rest], RIDGE_IMAGE)(features[test])
        drawn = readout.members(features[rest], positive[rest], train.patient[rest], RIDGE_IMAGE, seed=seed)
        members[test] = np.stack([member(features[test]) for member in drawn], 1)
    platt = readout.platt(logits, positive)
    middle = platt[0] * logits + platt[1]
    probability, spread = 1 / (1 + np.exp(-middle)), readout.spread(logits, members, platt)
    wrong = (middle > 0) != positive
    tellers = {"spread": spread, "nearness to even odds": -np.abs(middle), "deviation in log odds": members.std(1, ddof=1)}
    return {
        "by_spread": subgroups(positive, probability, thirds(spread)),
        "auc_of_errors": {name: round(auc(wrong, values), 3) for name, values in tellers.items()},
    }


def difference(head: ImageHead, shipped: OnnxHead, pictures: films.Pictures) -> float:
    """The largest difference of a probability, an unlikeness or a feature between torch and the file, relative where values exceed 1."""
    with torch.inference_mode():
        ours = [answer.numpy() for answer in head(torch.from_numpy(pictures))]
    theirs = shipped.run(pictures, OUTPUTS)
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(a))).max()) for a, b in zip(ours, theirs, strict=True))


def _embedded(name: str, part: Films, encoder: Encoder, step: Step, progress: Progress) -> _Set:
    step(f"looking at {name}")
    export.round_weights(encoder)
    seen, maps = embedded(encoder, part.pictures, progress)
    return _Set(part, seen, maps, films.folds(part.patient, name), films.held_out(part.patient, name))


def _crossed(part: _Set, ridge: float, rows: Mask | None = None) -> tuple[Mask, Matrix]:
    rows = part.train if rows is None else rows
    positive = part.films.positive[rows]
    return positive, readout.crossed(part.features[rows], positive, part.fold[rows], ridge)


def _head(encoder: Encoder, nih: _Set, hannover: _Set, seed: int) -> tuple[ImageHead, drift.Reference]:
    """NIH's finding is learned without the patients held out; intensive care, with 71 patients, on all of them. And what it was made on."""
    linear, slopes, unseen, members = [], [], [], []
    for part, rows in ((nih, nih.train), (hannover, np.ones(len(hannover.films), bool))):
        linear.append(readout.fit(part.features[rows], part.films.positive[rows], RIDGE_IMAGE))
        members.append(readout.members(part.features[rows], part.films.positive[rows], part.films.patient[rows], RIDGE_IMAGE, seed=seed))
        positive, logits = _crossed(part, RIDGE_IMAGE, rows)
        slopes.append(readout.platt(logits, positive))
        unseen.append(1 / (1 + np.exp(-(slopes[-1][0] * logits + slopes[-1][1]))))
    head: ImageHead = ImageHead(
        encoder,
        torch.tensor(np.stack([one.weight for one in linear]), dtype=torch.float32),
        torch.tensor([one.bias for one in linear], dtype=torch.float32),
        torch.tensor(slopes, dtype=torch.float32),
        _likeness(nih, hannover, seed),
        *(torch.tensor(part, dtype=torch.float32) for part in readout.stacked(members)),
    )
    return head, distribution(
        [row["View Position"] for row in nih.films.chosen(nih.train).rows] + [row["projection"] for row in hannover.films.rows],
        [row["modality"] for row in hannover.films.rows],
        likeness.of(head.likeness, _not_learned(nih, hannover)),
        dict(zip((code for code, *_ in FINDINGS), unseen, strict=True)),
    )


def _likeness(nih: _Set, hannover: _Set, seed: int) -> Likeness:
    """One fold of the training patients sets the limit; those held out have no part in it."""
    known, spoiled = [], []
    for part in (nih, hannover):
        learned = part.train & (part.fold != 0)
        known.append(part.seen(learned))
        spoiled.append(part.films.pictures[learned][::_FOREIGN_EVERY])
    strange = foreign.spoiled(np.concatenate(spoiled), tuple(foreign.WAYS), seed - SEED)
    return likeness.fit(_joined(known), thumbnails(strange), _not_learned(nih, hannover))


def _not_learned(nih: _Set, hannover: _Set) -> Seen:
    """Training films that the check has not learned from."""
    return _joined([part.seen(part.train & (part.fold == 0)) for part in (nih, hannover)])


def _joined(parts: list[Seen]) -> Seen:
    return Seen(np.vstack([part.small for part in parts]), np.vstack([part.features for part in parts]))


def _reference(nih: _Set, hannover: _Set, side: int, body: bytes) -> HeadReference:
    shares = (nih.films.positive[nih.train].mean(), hannover.films.positive.mean())
    return HeadReference(
        head=HEAD,
        version=VERSION,
        side=side,
        expects=EXPECTS,
        findings=tuple(
            HeadFinding(code=code, label=label, prevalence=round(float(share), 4), ranks=ranks)
            for (code, label, ranks), share in zip(FINDINGS, shares, strict=True)
        ),
        sha256=hashlib.sha256(body).hexdigest(),
        spread=True,
        scope=SCOPE,
        tasks=TASKS,
        compared=COMPARED,
    )
