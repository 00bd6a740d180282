"""A site's read-out of a finding as a new version of the image head."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="fine-tuning needs the extra train")
pytest.importorskip("onnxscript", reason="fine-tuning needs the extra train")
pytest.importorskip("torch", reason="fine-tuning needs the extra train")

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.pictures import FEATURES, FINDINGS, UNLIKENESS, OnnxHead
from pipeline.errors import StackError
from pipeline.models.finetuning import head
from pipeline.models.finetuning.inputs import HEAD, Inputs, Seen
from pipeline.models.imaging import acceptance
from pipeline.models.imaging.network import WIDTH

SHIPPED = OnnxHead(heads.load(HEAD))
PICTURES = acceptance.pictures(SHIPPED.reference.side)


def site(patients: int = 60) -> Inputs:
    """Two films a patient, some of them unlike; the outcome follows the shipped read-out's logit, and one feature that it hardly knows."""
    rng, rows = np.random.default_rng(2), 2 * patients
    parts = head.read_back(heads.load(HEAD).onnx)
    middle = SHIPPED.run(PICTURES, (FEATURES,))[0].mean(0)
    features = middle + rng.normal(size=(rows, WIDTH)) * 0.05
    logit = features @ parts["weight"][0] + parts["bias"][0]
    positive = (logit - logit.mean()) / logit.std() + 1.5 * (features[:, 3] - middle[3]) / 0.05 + rng.normal(size=rows) * 0.3 > 0
    nothing, unknown = np.zeros((rows, 0)), np.full(rows, np.nan)
    unlike = np.arange(rows) % 20 == 0
    seen = Seen(features, np.zeros((rows, 2, 1, 1, 1), np.float32), unknown, unlike)
    patient = np.array([f"p{row // 2}" for row in range(rows)])
    return Inputs(positive, patient, nothing.astype(np.float32), unknown, nothing, (), nothing, np.ones(rows, bool), unlike, seen)


def test_a_head_is_read_back_from_its_file() -> None:
    """Its read-outs, by hand on its features, say what it says."""
    parts = head.read_back(heads.load(HEAD).onnx)
    findings, features = SHIPPED.run(PICTURES, (FINDINGS, FEATURES))
    logits = features @ parts["weight"].T + parts["bias"]

    assert np.abs(1 / (1 + np.exp(-(logits * parts["platt"][:, 0] + parts["platt"][:, 1]))) - findings).max() < 1e-4


def test_the_new_version_moves_one_finding_and_nothing_else(tmp_path: Path) -> None:
    """It passes for a head of its version; the other finding and the check say what they said; the site's films are told apart better."""
    for name, content in head.files(site(), "pneumonia", "7", 1).items():
        (tmp_path / name).write_bytes(content)
    found = OnnxHead(heads.load_from(tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_bytes())
    (before, far), (after, further) = (one.run(PICTURES, (FINDINGS, UNLIKENESS)) for one in (SHIPPED, found))

    assert (found.reference.head, found.reference.version) == (HEAD, "7")
    assert found.reference.findings[1] == SHIPPED.reference.findings[1]
    assert found.reference.findings[0].prevalence == metrics["prevalence"] != SHIPPED.reference.findings[0].prevalence
    assert np.abs(after[:, 1] - before[:, 1]).max() < 1e-4
    assert np.abs(further - far).max() < 1e-3
    assert np.abs(after[:, 0] - before[:, 0]).max() > 1e-3
    assert acceptance.differs(found, json.loads((tmp_path / acceptance.ACCEPTANCE_FILE).read_bytes())) < acceptance.TOLERANCE
    assert (metrics["films"], metrics["unlike"]) == (114, 6)
    assert metrics["onnx_max_difference"] < 1e-4
    assert metrics["gain"][0] > 0
    made_on, before_it = (heads.load_distribution(folder) for folder in (tmp_path, heads.HEADS / HEAD))
    assert made_on is not None and before_it is not None
    kept = before_it.edges.keys() - {"pneumonia"}
    assert made_on.edges.keys() - {"pneumonia"} == kept
    assert all((made_on.edges[name], made_on.shares[name]) == (before_it.edges[name], before_it.shares[name]) for name in kept)
    assert made_on.edges["pneumonia"] != before_it.edges["pneumonia"]
    assert made_on.shares["pneumonia"] == pytest.approx([0.0, *[0.1] * 10], abs=0.01)  # of the 114 films that it looked at
    assert "It is better here." in (tmp_path / "CARD.md").read_text()


def test_what_cannot_be_learned_is_refused() -> None:
    """A finding that the head does not know, and films of one patient with it."""
    with pytest.raises(StackError, match="no finding 'nodule'"):
        head.files(site(4), "nodule", "7", 1)
    few = site(4)
    with pytest.raises(StackError, match="too few patients"):
        head.files(replace(few, positive=few.patient == "p0"), "pneumonia", "7", 1)
