"""`readfirst train multimodal` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import models


def test_train_the_rival_the_whole_way(shared_data: Path, tmp_path: Path) -> None:
    """A small configuration of the one network over events and films: graph, figures of every choice of inputs, and its card."""
    pytest.importorskip("onnxscript", reason="the extra `train` (onnxscript) is not installed")
    from pipeline.models.multimodal import card
    from pipeline.models.multimodal.rows import OUTPUTS, subsets

    app = typer.Typer()
    models.register(app)
    command = ["train", "multimodal", "--small", "--data", str(shared_data), "--out", str(tmp_path), "--json"]
    trained = CliRunner().invoke(app, command)
    figures = json.loads(trained.stdout.splitlines()[-1])
    metrics = msgspec.json.decode((tmp_path / "metrics.json").read_bytes())

    assert trained.exit_code == 0
    assert (
        figures["death_set_b"]["attention over a set of events"]["auc"] == metrics["death_set_b"]["attention over a set of events"]["auc"]
    )
    assert metrics["onnx_max_difference"] < 1e-4
    assert {name: list(told) for name, told in metrics["by_subset"].items()} == {name: list(subsets(at)) for at, name in enumerate(OUTPUTS)}
    assert (tmp_path / "CARD.md").read_text() == card.render(metrics)
    assert (tmp_path / "model.onnx").stat().st_size == metrics["bytes"]
