"""A site's own read-out of one finding as a new version of the image head: encoder, other findings and the check stay as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from msgspec.structs import replace
from onnx import numpy_helper

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.pictures import OnnxHead
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import drift
from pipeline.domain.image_answer import HeadReference
from pipeline.domain.image_heads import odds_at
from pipeline.errors import StackError
from pipeline.models.artefacts import pretty
from pipeline.models.evaluation.bootstrap import bootstrap_difference, bootstrap_interval, rounded
from pipeline.models.evaluation.calibration import ece
from pipeline.models.evaluation.discrimination import auc
from pipeline.models.finetuning.inputs import HEAD, Inputs, Matrix, encoder_as_shipped
from pipeline.models.finetuning.splits import MOST_FOLDS, folds
from pipeline.models.imaging import export, readout
from pipeline.models.imaging.acceptance import ACCEPTANCE_FILE, expected, pictures
from pipeline.models.imaging.build import difference
from pipeline.models.imaging.evaluation import RIDGE_IMAGE
from pipeline.models.imaging.network import ImageHead, Likeness

_SAMPLES = 500
_LIKENESS = ("whole_mean", "whole_axes", "foreign_weight", "foreign_bias", "texture_mean", "texture_axes", "scale")
_MEMBERS = ("members", "members_bias")
_CARD = """\
# Image head: {head}, version {version}, fine-tuned by a site

**Not a medical device.** It orders a reading list; it does not diagnose, and it never moves a study down.

It is version {base} of the head, whose card holds for all but this: the read-out of **{finding}** was moved by {films} films of {patients}
patients, {positives} of them with it. Least ridge holds it back along what it was before, so that few films move it little. It comes true
where {prevalence:.0%} have the finding; the list brings it to the site's share. Pictures that the head would refuse took no part: {unlike}.

Out of fold over the site's patients, beside the head as it was (its probabilities brought to the same share):

| | AUC | 95 % by patient | ECE |
|---|---|---|---|
| version {base} | {before[auc]} | {before[auc_95][0]}-{before[auc_95][1]} | {before[ece]} |
| this one | {after[auc]} | {after[auc_95][0]}-{after[auc_95][1]} | {after[ece]} |

Difference of the AUC: {gain[0]:+.3f} to {gain[1]:+.3f}. {verdict} `readfirst promote` compares both on NIH's patients too.
"""


def files(data: Inputs, finding: str, version: str, seed: int) -> dict[str, bytes]:
    """The folder of the new version, file by file. Raises StackError where the head has no such finding, or there is too little."""
    before = heads.load(HEAD)
    place = _place(before.reference, finding)
    parts = read_back(before.onnx)
    rows = data.has_image & ~data.seen.unlike
    features, positive, patient = data.seen.features[rows], data.positive[rows], data.patient[rows]
    if min(len(set(patient[positive])), len(set(patient[~positive]))) < 2:
        raise StackError(f"too few patients have films with and without {finding}", "bring more pairs; a head was not written")
    direction = parts["weight"][place][:, None]
    fold, logits = folds(positive, patient, MOST_FOLDS, seed), np.zeros(len(positive))
    for one in np.unique(fold):
        rest = fold != one
        logits[~rest] = readout.fit(features[rest], positive[rest], RIDGE_IMAGE, direction)(features[~rest])
    moved, platt, share = readout.fit(features, positive, RIDGE_IMAGE, direction), readout.platt(logits, positive), float(positive.mean())
    unseen = platt[0] * logits + platt[1]
    weight, bias, slopes = (parts[name].copy() for name in ("weight", "bias", "platt"))
    weight[place], bias[place], slopes[place] = moved.weight, moved.bias, platt
    drawn = readout.stacked([readout.members(features, positive, patient, RIDGE_IMAGE, direction)])
    members = _in_place(parts["members"], drawn[0], place), _in_place(parts["members_bias"], drawn[1], place)
    readouts = [torch.tensor(one, dtype=torch.float32) for one in (weight, bias, slopes)]
    held = (torch.tensor(one, dtype=torch.float32) for one in members)
    head: ImageHead = ImageHead(encoder_as_shipped(), readouts[0], readouts[1], readouts[2], _check(parts), *held)
    body = export.to_onnx(head, before.reference.side, version)
    reference = _reference(before.reference, place, version, share, body)
    written = OnnxHead(heads.Head(reference, body))
    shipped = features @ parts["weight"][place] + parts["bias"][place]
    shipped = shipped * parts["platt"][place][0] + parts["platt"][place][1]
    metrics = {
        **{"head": HEAD, "version": version, "base": before.reference.version, "finding": finding, "prevalence": round(share, 4)},
        **{"films": len(positive), "patients": len(set(patient)), "positives": int(positive.sum()), "unlike": int(data.seen.unlike.sum())},
        **compared(positive, patient, unseen, shipped, before.reference.findings[place].prevalence),
        "onnx_max_difference": difference(head, written, pictures(before.reference.side)),
    }
    return {
        MODEL_FILE: body,
        heads.REFERENCE_FILE: pretty(reference),
        ACCEPTANCE_FILE: pretty(expected(written)),
        heads.DISTRIBUTION_FILE: pretty(_made_on(finding, unseen)),
        "metrics.json": pretty(metrics),
        "CARD.md": _CARD.format(**metrics, verdict=_verdict(metrics["gain"])).encode(),
    }


def read_back(body: bytes) -> dict[str, Matrix]:
    """weight [findings, WIDTH], bias, platt [findings, 2], the members as ImageHead's, and the parts of the check, out of a head's file."""
    graph = onnx.load_from_string(body).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    # sigmoid((features @ weight.T + bias) * slope + intercept)
    steps, at = [], made["findings"].input[0]
    for _ in range(4):
        steps.append(held[made[at].input[1]])
        at = made[at].input[0]
    if at != "features":
        raise StackError(
            "the head's file is not laid out as this version of Readfirst writes it", "train it again: readfirst train imaging"
        )
    intercept, slope, bias, weight = steps
    found = {"weight": weight.T, "bias": bias, "platt": np.stack([slope, intercept], 1), **{name: held[name] for name in _MEMBERS}}
    return {name: np.array(part, np.float64) for name, part in {**found, **{name: held[f"likeness.{name}"] for name in _LIKENESS}}.items()}


def compared(positive: Any, patient: Any, logits: Matrix, shipped: Matrix, calibrated: float) -> dict[str, Any]:
    """Both read-outs on the same films. shipped: logits that come true where `calibrated` have the finding."""
    share = float(positive.mean())
    there = 1 / (1 + np.exp(-shipped))
    chances = {"before": np.array([odds_at(float(chance), calibrated, share) for chance in there]), "after": 1 / (1 + np.exp(-logits))}
    figures = {
        name: {
            "auc": round(auc(positive, each), 4),
            "auc_95": rounded(bootstrap_interval(auc, positive, each, patient, _SAMPLES)),
            "ece": round(ece(positive, each), 4),
        }
        for name, each in chances.items()
    }
    return {**figures, "gain": rounded(bootstrap_difference(auc, positive, chances["after"], chances["before"], patient, _SAMPLES))}


def _place(reference: HeadReference, finding: str) -> int:
    codes = [one.code for one in reference.findings]
    if finding not in codes:
        raise StackError(f"the head {reference.head} has no finding {finding!r}", f"choose one of: {', '.join(codes)}")
    return codes.index(finding)


def _in_place(members: Matrix, drawn: Matrix, place: int) -> Matrix:
    """With the members of one finding exchanged."""
    found, count = members.copy(), drawn.shape[-1]
    found[..., place * count : (place + 1) * count] = drawn
    return found


def _made_on(finding: str, logits: Matrix) -> drift.Reference:
    """As the shipped head's, but for the finding that was moved. logits: out of fold."""
    kept = heads.load_distribution(heads.HEADS / HEAD)
    assert kept is not None
    return drift.renewed(kept, {finding: [float(chance) for chance in 1 / (1 + np.exp(-logits))]})


def _check(parts: Mapping[str, Matrix]) -> Likeness:
    return Likeness(**{name: torch.tensor(parts[name], dtype=torch.float32) for name in _LIKENESS})


def _reference(before: HeadReference, place: int, version: str, share: float, body: bytes) -> HeadReference:
    findings = tuple(replace(one, prevalence=round(share, 4)) if number == place else one for number, one in enumerate(before.findings))
    return replace(before, version=version, findings=findings, sha256=hashlib.sha256(body).hexdigest())


def _verdict(gain: tuple[float, float]) -> str:
    return "It is better here." if gain[0] > 0 else "It is worse here." if gain[1] < 0 else "It is not shown to differ."
