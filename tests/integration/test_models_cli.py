"""`readfirst train` and `readfirst evaluate` as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from pipeline.adapters.onnx.artefact import SHIPPED
from pipeline.cli import models
from pipeline.errors import NotFound, StackError


@pytest.fixture
def app() -> typer.Typer:
    """Both commands alone."""
    app = typer.Typer()
    models.register(app)
    return app


def test_evaluate_gives_the_card_s_figures(app: typer.Typer, shared_data: Path) -> None:
    """The shipped weights on set b: the last line is JSON with the very figures of metrics.json."""
    result = CliRunner().invoke(app, ["evaluate", "--task", "physionet2012", "--data", str(shared_data), "--json"])
    figures = json.loads(result.stdout.splitlines()[-1])
    shipped = msgspec.json.decode((SHIPPED / "metrics.json").read_bytes())["results"]

    assert result.exit_code == 0
    assert {name: figures[name] for name in shipped} == pytest.approx(shipped, abs=2e-4)
    assert figures["auc_95"][0] < figures["auc"] < figures["auc_95"][1]


def test_without_data(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that names the file and where it comes from, before anything long begins."""
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: name)  # as where the extra `train` is installed
    for command in ("evaluate", "train"):
        error = CliRunner().invoke(app, [command, "--data", str(tmp_path)]).exception

        assert isinstance(error, NotFound)
        assert "physionet2012-set-a-b.tar.xz" in str(error)
        assert "physionet.org" in str(error)


def test_without_torch(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` says which extra to install; `evaluate` does not need it."""
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    error = CliRunner().invoke(app, ["train", "--data", str(tmp_path)]).exception

    assert isinstance(error, StackError)
    assert "--extra train" in error.remedy


def test_an_unknown_task(app: typer.Typer) -> None:
    """Named, with those there are."""
    error = CliRunner().invoke(app, ["evaluate", "--task", "nonsense"]).exception

    assert isinstance(error, StackError)
    assert "physionet2012" in error.remedy
