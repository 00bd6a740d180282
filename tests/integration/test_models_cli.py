"""`readfirst train` and `readfirst evaluate` as a person calls them."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from pipeline.adapters.onnx.artefact import SHIPPED
from pipeline.adapters.onnx.heads import HEADS
from pipeline.cli import models
from pipeline.errors import NotFound, StackError
from pipeline.models.clinical import physionet


@pytest.fixture
def app() -> typer.Typer:
    """Both commands alone."""
    app = typer.Typer()
    models.register(app)
    return app


def test_evaluate_gives_the_card_s_figures(app: typer.Typer, shared_data: Path, record_property: Callable[[str, object], None]) -> None:
    """The shipped weights on set b: the last line is JSON with the very figures of metrics.json. Seconds are noted (asked: under 50)."""
    started = time.monotonic()
    result = CliRunner().invoke(app, ["evaluate", "--task", "physionet2012", "--data", str(shared_data), "--json"])
    record_property("evaluate_physionet2012_s", round(time.monotonic() - started, 1))
    figures = json.loads(result.stdout.splitlines()[-1])
    shipped = msgspec.json.decode((SHIPPED / "metrics.json").read_bytes())["results"]

    assert result.exit_code == 0
    assert {name: figures[name] for name in shipped} == pytest.approx(shipped, abs=2e-4)
    assert figures["auc_95"][0] < figures["auc"] < figures["auc_95"][1]


def test_the_image_head_gives_the_card_s_figures(app: typer.Typer, shared_data: Path, tmp_path: Path) -> None:
    """The shipped file on the NIH patients that were held out; the PPV where fewer have it is lower; with --out the whole report."""
    command = ["evaluate", "--task", "nih", "--data", str(shared_data), "--prevalence", "0.05", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, command)
    figures = json.loads(result.stdout.splitlines()[-1])
    shipped = msgspec.json.decode((HEADS / "chest_frontal" / "metrics.json").read_bytes())["nih"]
    told = ("auc", "auprc", "min_se_ppv", "ece", "brier", "n", "positives", "projection_alone_auc")

    assert result.exit_code == 0
    assert {name: figures[name] for name in told} == pytest.approx({name: shipped[name] for name in told}, abs=1e-3)
    for here, there in zip(figures["working_points"], shipped["working_points"], strict=True):
        assert (here["prevalence"], there["prevalence"], here["ppv"] < there["ppv"]) == (0.05, 0.1, True)
    assert {file.name for file in tmp_path.iterdir()} == {"metrics.json", "report.md", "calibration.svg", "roc.svg", "decision.svg"}
    report = (tmp_path / "report.md").read_text()
    assert "| age 45-64 |" in report and "| most spread |" in report
    assert f"looked at {figures['held_out_uses']} times" in report and figures["held_out_uses"] >= 2
    assert figures["subgroups"].keys() == shipped["subgroups"].keys()


@pytest.mark.parametrize(
    ("task", "told", "plots", "words"),
    [
        (
            "ood",
            ("films", "films_refused", "spoiled_refused", "dicom_chest_refused", "dicom_others_refused", "dicom_reasons"),
            {"roc.svg"},
            ("| nih |", "| upside down |", "| out-of-distribution |"),
        ),
        (
            "hannover",
            ("films", "patients", "positives", "auc", "image_within_ap_auc", "projection_alone_auc"),
            {"calibration.svg", "roc.svg", "decision.svg"},
            ("# image\n", "| DX |", "| F |", "| PA |", "| ece |", "| brier |", "| labs + blood gases |"),
        ),
    ],
)
def test_what_the_head_refuses_and_the_other_hospital(
    app: typer.Typer, shared_data: Path, tmp_path: Path, task: str, told: tuple[str, ...], plots: set[str], words: tuple[str, ...]
) -> None:
    """Made anew from the shipped file, with the report: which pictures it refuses, and the read-outs crossed over Hannover's patients."""
    result = CliRunner().invoke(app, ["evaluate", "--task", task, "--data", str(shared_data), "--out", str(tmp_path), "--json"])
    figures = json.loads(result.stdout.splitlines()[-1])
    shipped = msgspec.json.decode((HEADS / "chest_frontal" / "metrics.json").read_bytes())[task]

    assert result.exit_code == 0
    for name in told:
        assert figures[name] == (shipped[name] if isinstance(shipped[name], str) else pytest.approx(shipped[name], abs=1e-3))
    report = (tmp_path / "report.md").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {"metrics.json", "report.md", *plots}
    assert all(one in report for one in words)


def test_evaluate_elsewhere_with_its_report(app: typer.Typer, shared_data: Path, tmp_path: Path) -> None:
    """eICU, on which nothing was trained: the card's figures, and with --out a report with plots and the PPV at the site's prevalence."""
    command = ["evaluate", "--task", "eicu", "--data", str(shared_data), "--out", str(tmp_path), "--prevalence", "0.02", "--json"]
    figures = json.loads(CliRunner().invoke(app, command).stdout.splitlines()[-1])
    shipped = msgspec.json.decode((SHIPPED / "metrics.json").read_bytes())["eicu"]["results"]
    report = msgspec.json.decode((tmp_path / "metrics.json").read_bytes())

    assert {name: figures[name] for name in shipped} == pytest.approx(shipped, abs=2e-4)
    assert {point["prevalence"] for point in report["working_points"]} == {0.02}
    assert {file.name for file in tmp_path.iterdir()} == {"metrics.json", "report.md", "calibration.svg", "roc.svg", "decision.svg"}
    assert "## Subgroups" in (tmp_path / "report.md").read_text()


def test_train_the_whole_way(app: typer.Typer, shared_data: Path, tmp_path: Path) -> None:
    """A small configuration on a few hundred stays: a folder that `evaluate` takes, with a card written from its own figures."""
    pytest.importorskip("lightgbm", reason="the extra `train` (lightgbm) is not installed")
    from pipeline.adapters.onnx.artefact import load
    from pipeline.models.clinical import card

    out, data = tmp_path / "model", str(a_tenth(shared_data, tmp_path))
    trained = CliRunner().invoke(app, ["train", "clinical", "--small", "--data", data, "--out", str(out), "--json"])
    figures = json.loads(trained.stdout.splitlines()[-1])
    evaluated = CliRunner().invoke(app, ["evaluate", str(out), "--data", data, "--json"])
    metrics = msgspec.json.decode((out / "metrics.json").read_bytes())

    assert trained.exit_code == 0
    assert figures == metrics["results"]
    assert json.loads(evaluated.stdout.splitlines()[-1])["auc"] == pytest.approx(figures["auc"], abs=1e-4)
    assert figures["auc"] > 0.6
    assert metrics["onnx_max_difference"] < 1e-4
    assert (out / "CARD.md").read_text() == card.render(metrics, load(out).reference)


def test_train_the_image_head_the_whole_way(app: typer.Typer, shared_data: Path, tmp_path: Path) -> None:
    """On some 120 films a set: a folder that loads, answers by its acceptance test, is understood by Triton, and whose card is its own
    figures'; it counts as a look at the patients held out."""
    pytest.importorskip("torch", reason="the extra `train` (torch) is not installed")
    from pipeline.adapters.onnx import heads
    from pipeline.adapters.onnx.pictures import OnnxHead
    from pipeline.models import triton_heads
    from pipeline.models.imaging import acceptance, card, recipe

    trained = CliRunner().invoke(app, ["train", "imaging", "--small", "--data", str(shared_data), "--out", str(tmp_path), "--json"])
    figures = json.loads(trained.stdout.splitlines()[-1])
    folder = tmp_path / recipe.HEAD
    metrics, stored = (msgspec.json.decode((folder / name).read_bytes()) for name in (recipe.METRICS_FILE, acceptance.ACCEPTANCE_FILE))
    head = OnnxHead(heads.load(recipe.HEAD, tmp_path))
    findings, spread = head.run(acceptance.pictures(head.reference.side), ("findings", "spread"))

    assert trained.exit_code == 0
    assert figures == metrics and figures["nih"]["auc"] > 0.6
    assert metrics["onnx_max_difference"] < 1e-4
    assert acceptance.differs(head, stored) < acceptance.TOLERANCE
    assert findings.shape == spread.shape and 0 < spread.min() < spread.max() < 0.5
    assert (head.reference.scope, head.reference.compared) == (recipe.SCOPE, "nih")
    assert (folder / recipe.CARD_FILE).read_text() == card.render(metrics, head.reference)
    shipped = msgspec.json.decode((HEADS / recipe.HEAD / recipe.METRICS_FILE).read_bytes())
    assert len(metrics["nih_held_out_uses"]) == len(shipped["nih_held_out_uses"]) + 1
    triton_heads.build(tmp_path / "triton", "gpu", tmp_path)


def a_tenth(data: Path, target: Path) -> Path:
    """Every tenth stay of PhysioNet's archive, in a data folder of its own."""
    folder = target / physionet.FOLDER
    folder.mkdir()
    with (
        tarfile.open(data / physionet.FOLDER / physionet.ARCHIVE, "r:xz") as whole,
        tarfile.open(folder / physionet.ARCHIVE, "w:xz", preset=0) as part,
    ):
        for number, member in enumerate(member for member in whole if member.name.endswith(".txt")):
            if number % 10 == 0:
                part.addfile(member, whole.extractfile(member))
    for which in ("a", "b"):
        copied = data / physionet.FOLDER / f"Outcomes-{which}.txt"
        (folder / copied.name).write_text(copied.read_text())
    return target


def test_without_a_name_everything_that_ships_is_trained(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each into its folder, with the figures of both; a single one by its name."""
    written: list[Path] = []
    monkeypatch.setattr(models, "require_torch", lambda: None)
    monkeypatch.setattr(models, "_require_data", lambda _: None)
    monkeypatch.setattr(models, "_train_clinical", lambda data, out, seed, small: written.append(out) or {"auc": 0.87})
    monkeypatch.setattr(models, "_train_imaging", lambda data, out, seed, small: written.append(out) or {"nih": 0.93})
    both = CliRunner().invoke(app, ["train", "--out", str(tmp_path), "--json"])
    one = CliRunner().invoke(app, ["train", "clinical", "--out", str(tmp_path), "--json"])

    assert json.loads(both.stdout) == {"clinical": {"auc": 0.87}, "imaging": {"nih": 0.93}}
    assert json.loads(one.stdout) == {"auc": 0.87}
    assert written == [tmp_path, tmp_path / "clinical_risk", tmp_path]


def test_nothing_else_can_be_trained(app: typer.Typer) -> None:
    """Named, with what there is."""
    error = CliRunner().invoke(app, ["train", "nonsense"]).exception

    assert isinstance(error, StackError)
    assert "clinical" in error.remedy


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
    assert "eicu" in error.remedy
