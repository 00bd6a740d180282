"""Fine-tuning from end to end on made-up films: learned, tested by patient, written as a version that serves."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("sklearn", reason="fine-tuning needs the extra train")
pytest.importorskip("onnxscript", reason="fine-tuning needs the extra train")
pytest.importorskip("torch", reason="fine-tuning needs the extra train")

import torch

from pipeline import cli
from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.domain import drift, features
from pipeline.errors import StackError
from pipeline.models.finetuning import build as building
from pipeline.models.finetuning import graph, requests, validation, version
from pipeline.models.finetuning.audit import audit
from pipeline.models.finetuning.build import Site, build
from pipeline.models.finetuning.fusion import Recipe, learn
from pipeline.models.finetuning.inputs import Inputs, gather, shipped_model
from pipeline.models.finetuning.pairs import Pair
from pipeline.models.finetuning.version import FineTunedReference
from tests.made_up_pairs import SIDE, made_up, manifest


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return made_up()


@pytest.fixture(scope="module")
def data(pairs: list[Pair]) -> Inputs:
    torch.set_num_threads(2)
    return gather(pairs, shipped_model(), SIDE)


@pytest.fixture(scope="module")
def built(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One version, from all the pairs."""
    out = tmp_path_factory.mktemp("finetuned")
    return build(pairs, audit(manifest(pairs)), Site("made up", out, Recipe(), SIDE))


def test_a_version_is_written_with_its_card(built: tuple[Path, dict[str, Any]], pairs: list[Pair]) -> None:
    """The next number; reference, metrics and card agree; what shows in the films is found, and the few patients are told."""
    folder, metrics = built
    reference = json.loads((folder / "reference.json").read_text())
    card = (folder / "CARD.md").read_text()

    assert folder.name == str(int(artefact.load_reference().version) + 1) == reference["version"]
    assert reference["outcome"] == "made up"
    assert json.loads((folder / "metrics.json").read_text())["results"]["auc_by_input"] == metrics["results"]["auc_by_input"]
    assert metrics["results"]["auc_by_input"]["image alone"] > 0.8
    assert metrics["results"]["auc_by_input"]["fused"] > 0.8
    assert {"projection alone", "missingness alone", "hospital alone", "shipped clinical model"} <= metrics["results"][
        "auc_by_input"
    ].keys()
    assert metrics["results"]["subgroups"]["hospital north"]["n"] + metrics["results"]["subgroups"]["hospital south"]["n"] == len(pairs)
    assert "24 patients, 12 of them with the outcome, prove little" in card
    assert "Fusion shows" in card
    assert "stands for site_score: live, that is always missing" in card


def test_the_file_and_torch_agree(built: tuple[Path, dict[str, Any]], data: Inputs, pairs: list[Pair]) -> None:
    """To 1e-4, rows with and without each part among them."""
    assert built[1]["onnx_max_difference"] <= 1e-4
    session_rows = np.arange(10)
    asked = building.question(data, pairs, session_rows, SIDE, True)
    fused = learn(data, np.ones(len(pairs), bool), Recipe())
    body = (built[0] / "model.onnx").read_bytes()
    assert b"pipeline/models" not in body, "no paths of this machine"

    assert building.compare(body, graph.tower(fused), graph.Join(fused), asked) <= 1e-4
    asked["has_image"] = 1 - asked["has_image"]
    asked["values"][:] = np.nan
    assert building.compare(body, graph.tower(fused), graph.Join(fused), asked) <= 1e-4


def test_it_serves_where_the_shipped_model_does(built: tuple[Path, dict[str, Any]]) -> None:
    """Features alone are enough; contributions are 0 where there is nothing, and say what a value did."""
    model = OnnxModel(artefact.load(built[0]))
    seen = features.matrix([features.Features(values={"lactate.last": value, "lactate.age_h": 1.0}) for value in (1.0, 8.0)])
    risk, contributions = model.run(seen)[:2]
    place = features.GROUPS.index("lactate")

    assert risk.shape == (2, 1)
    assert risk[1, 0] > risk[0, 0]
    assert contributions[1, place] > 0
    assert not np.delete(contributions, place, axis=1).any()


def test_picture_words_and_values_contribute_on_their_own(built: tuple[Path, dict[str, Any]], data: Inputs, pairs: list[Pair]) -> None:
    """Each group's is what the risk loses without it; nothing where there is nothing."""
    model = OnnxModel(artefact.load(built[0]))
    groups = model.reference.groups
    assert groups == (*features.GROUPS, "image", "words", *data.own_values)
    asked = building.question(data, pairs, np.array([1, 7, 12]), SIDE, True)
    seen = asked.pop("features")
    whole, alone = model.run(seen, asked), model.run(seen)
    without = {
        "image": {**asked, "has_image": asked["has_image"] * 0},
        "words": {**asked, "concepts": asked["concepts"] * 0},
        "site_score": {
            **asked,
            "values": np.where(np.arange(len(data.own_values)) == data.own_values.index("site_score"), np.nan, asked["values"]),
        },
    }
    for name, rest in without.items():
        rest["values"] = rest["values"].astype(np.float32)
        moved = whole.risk[:, 0] - model.run(seen, rest).risk[:, 0]
        assert whole.contributions[:, groups.index(name)] == pytest.approx(moved, abs=1e-6)
    assert [bool(moved) for moved in whole.contributions[:, groups.index("image")]] == [True, False, True], "the second has no picture"
    assert whole.contributions[:, groups.index("words")].any()
    assert not alone.contributions[:, len(features.GROUPS) :].any()


def test_drift_is_measured_against_the_pairs_and_what_it_says_of_them(
    built: tuple[Path, dict[str, Any]], data: Inputs, pairs: list[Pair]
) -> None:
    """Asked the same rows again, by all that is there as in service, nothing has drifted; asked about others, its input and risk have."""
    made_on = artefact.load_distribution(built[0])
    assert made_on is not None
    further = building.question(data, pairs, np.arange(len(pairs)), SIDE, True)
    del further["features"]
    found = asked_again(built[0], made_on, data.clinical, further)
    assert made_on.rows == len(data.clinical)
    assert {"lactate", "age", "risk"} <= found.keys()
    assert max(found.values()) < 0.01

    place = features.NAMES.index("lactate.last")
    sicker = data.clinical.copy()
    sicker[:, place] = 15.0
    other = asked_again(built[0], made_on, sicker, further)
    assert min(other["lactate"], other["risk"]) > 0.25
    assert other["age"] < 0.01


def asked_again(folder: Path, made_on: drift.Reference, rows: np.ndarray, further: dict[str, np.ndarray]) -> dict[str, float]:
    """PSI by input, of what the version in `folder` says of these rows."""
    observables = {name: rows[:, features.NAMES.index(f"{name}.last")] for name in features.OBSERVABLES}
    demographics = {name: rows[:, features.NAMES.index(name)] for name in features.DEMOGRAPHICS}
    risk = OnnxModel(artefact.load(folder)).run(rows, further).risk[:, 0]
    columns = {**observables, **demographics, drift.RISK: risk}
    counts: Counter[tuple[str, int]] = Counter()
    for row in range(len(rows)):
        values = {name: None if np.isnan(column[row]) else float(column[row]) for name, column in columns.items()}
        counts.update(drift.placed(made_on, values))
    return {one.input: one.psi for one in drift.drifts(made_on, counts)}


def test_others_are_told_from_those_that_it_was_made_from(built: tuple[Path, dict[str, Any]], pairs: list[Pair]) -> None:
    """By marks, never by their numbers; a picture under another patient's is found out too. A version without marks says so."""
    folder = built[0]
    assert not any(f'"{pair.patient}"' in (folder / "metrics.json").read_text() for pair in pairs)
    known = version.load(folder)
    strangers = [replace(pair, patient=stranger(known, pair.patient), digest=f"other-{pair.digest}") for pair in made_up(seed=5)]
    mixed = [*strangers[:4], *pairs[:2], replace(strangers[5], digest=pairs[1].digest)]
    found = version.others(manifest(mixed), known)

    assert found.pairs == strangers[:4]
    assert [one.reason for one in found.refused] == ["learned-from"] * 3
    assert not version.others(manifest(pairs), known).pairs
    assert version.others(manifest(mixed), replace(known, learned_from=None)).pairs == mixed
    marks = version.Marks.of(("a", "b", "c"), "salt", 0.01)
    assert all(marks.has(key, "salt") for key in "abc")
    assert 0.002 < np.mean([marks.has(str(number), "salt") for number in range(5000)]) < 0.03


def stranger(known: version.Version, name: str) -> str:
    """A patient of another name, who does not happen to have the mark of one that the version was made from."""
    assert known.learned_from is not None
    salt = known.artefact.reference.sha256
    return next(told for n in count() if not known.learned_from.patients.has(told := f"{name}-{n}", salt))


def test_it_is_tested_on_others_as_it_is_asked_live(
    built: tuple[Path, dict[str, Any]], data: Inputs, pairs: list[Pair], tmp_path: Path
) -> None:
    """Its file says of a pair what it said when it was made; on others, what is missing costs; the report is whole."""
    known = version.load(built[0])
    model = OnnxModel(known.artefact)
    films = {pair.digest: pair.picture for pair in pairs}
    said = validation.answers(model, [requests.request(pair) for pair in pairs], films)
    assert said == pytest.approx(building._said(model, data, pairs, SIDE), abs=1e-5)

    strangers = [replace(pair, patient=f"q{pair.patient}") for pair in made_up(seed=5)]
    found = validation.validate(known, strangers, audit(manifest(strangers), testing=True), 0.1)
    told = found.figures
    validation.write(tmp_path, found)
    assert told["by_input"]["all"]["auc"] == told["auc"] > 0.8
    assert told["by_input"]["without image"]["auc"] < told["auc"]
    assert {"without values", "without words", "image alone", "age and sex alone"} <= told["by_input"].keys()
    assert told["auc_95"][0] < told["auc"] <= told["auc_95"][1]
    assert {"hospital north", "sex F", "no image given"} <= told["subgroups"].keys()
    assert {point["prevalence"] for point in told["working_points"]} == {0.1}
    assert told["beside"]["shipped clinical model"]["minus_95"][0] > 0
    assert "24 patients, 12 of them with the outcome, prove little" in (tmp_path / "report.md").read_text()
    assert {one.name for one in tmp_path.iterdir()} == {"metrics.json", "report.md", "calibration.svg", "roc.svg", "decision.svg"}
    unsure = validation.validate(replace(known, learned_from=None), strangers, audit(manifest(strangers)), None)
    assert "does not know whose pairs" in unsure.figures["sentences"][0]


def test_evaluate_says_what_it_needs(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A fine-tuned version goes with pairs, and pairs with a fine-tuned version."""
    command, others = cli.build(("models",)), tmp_path / "pairs.csv"
    rows = "study,patient,outcome,lactate\n" + "".join(f"s{n},p{n},{n % 2},2.5\n" for n in range(24))
    others.write_text(rows)
    for asked, words in (
        ([str(built[0])], "--pairs MANIFEST"),
        (["--pairs", str(others)], "name the folder"),
        ([str(artefact.SHIPPED), "--pairs", str(others)], "without --pairs"),
        ([str(built[0]), "--pairs", str(others)], "patients that it has not seen"),
    ):
        failed = CliRunner().invoke(command, ["evaluate", *asked]).exception
        assert isinstance(failed, StackError)
        assert words in failed.remedy
    known = version.load(built[0])
    others.write_text(re.sub(r",(p\d+)", lambda told: f",{stranger(known, told[1])}", rows))
    said = CliRunner().invoke(command, ["evaluate", str(built[0]), "--pairs", str(others), "--out", str(tmp_path / "report"), "--json"])
    told = json.loads(said.stdout.splitlines()[-1])
    assert (told["task"], told["version"], told["patients"], told["refused"]) == ("pairs", built[0].name, 24, {})
    assert (tmp_path / "report" / "report.md").is_file()


def test_nothing_is_overwritten(built: tuple[Path, dict[str, Any]], pairs: list[Pair]) -> None:
    """The next version counts on; a folder of that number in between is an error and stays as it is."""
    out, version = built[0].parent, int(built[0].name)
    assert building.next_version(out) == str(version + 1)
    reference = artefact.load_reference(built[0])
    whole = FineTunedReference(**{name: getattr(reference, name) for name in reference.__struct_fields__}, **_extra())
    before = (built[0] / "model.onnx").read_bytes()
    made_on = artefact.load_distribution(built[0])
    assert made_on is not None
    with pytest.raises(StackError, match="there already"):
        building._write(out, whole, before, built[1], made_on, {})
    assert (built[0] / "model.onnx").read_bytes() == before


def _extra() -> dict[str, Any]:
    return {"base_version": "1", "adapt": "frozen"}


def test_the_command_checks_and_stops(tmp_path: Path) -> None:
    """`--check` says what is in the manifest and writes nothing; what cannot be is an error with a remedy."""
    (tmp_path / "pairs.csv").write_text("study,patient,outcome,lactate\ns,p,1,2.5\nt,q,5,2.5\n")
    command, out = cli.build(("finetune",)), tmp_path / "out"
    asked = ["finetune", "--pairs", str(tmp_path / "pairs.csv"), "--out", str(out)]
    said = CliRunner().invoke(command, [*asked, "--check", "--json"])

    assert json.loads(said.stdout.splitlines()[-1])["pairs"]["refused"] == {"outcome": 1}
    assert not out.exists()
    for more, words in (([], "too few"), (["--adapt", "wholly"], "no way"), (["--example", "hannover"], "nothing to learn from")):
        failed = CliRunner().invoke(command, [*asked, *more])
        assert words in str(failed.exception)
