"""Films and reports without labels, aligned: what belongs together, how well it is found again, and what few pairs gain by it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="fine-tuning needs the extra train")
pytest.importorskip("onnxscript", reason="fine-tuning needs the extra train")
pytest.importorskip("torch", reason="fine-tuning needs the extra train")

from PIL import Image

from pipeline.adapters.onnx import artefact
from pipeline.errors import StackError
from pipeline.models.evaluation.discrimination import auc
from pipeline.models.finetuning import alignment, build, card, evaluation, nih_reports
from pipeline.models.finetuning.alignment import CODES, Aligned, Told, aligned, belongs, concepts, recall
from pipeline.models.finetuning.audit import audit
from pipeline.models.finetuning.films import Film, Films
from pipeline.models.finetuning.fusion import Recipe
from pipeline.models.imaging import readout
from pipeline.models.imaging.network import WIDTH
from tests.made_up_pairs import SIDE, made_up, manifest

FEATURES = 60
REPORTS = ("Pneumonia.", "No pneumonia. Pleural effusion.", "Pneumothorax, fracture.", "No acute findings.")
MIX = np.random.default_rng(5).normal(size=(len(REPORTS), FEATURES))


def told(values: Sequence[Any], patient: str, study: str) -> Told:
    """One row a letter."""
    return Told(np.array(values, dtype=float), np.array(list(patient)), np.array([one.strip() for one in study]))


def test_what_belongs_together() -> None:
    """By study first; by patient where no report is of the study; and every report that says the same as one of these."""
    films = told([[0]] * 3, "aab", "12 ")
    reports = told([[1, 0], [0, 1], [1, 0], [1, 1]], "aabb", "1x3y")

    assert belongs(films, reports).tolist() == [
        [True, False, True, False],  # study 1, and the third says the same
        [True, True, True, False],  # no report of study 2: both of the patient's
        [True, False, True, True],  # no study: both of patient b, and the first says the same
    ]
    assert belongs(films, reports, loosely=False).any(1).tolist() == [True, False, False]


def test_recall_by_hand() -> None:
    """Own one first; own one of two that tie for the second place; own none."""
    scores, own = np.array([[3.0, 1.0, 1.0, 0.0]] * 3), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)

    assert recall(scores, own, 1).tolist() == [1.0, 0.0, 0.0]
    assert recall(scores, own, 2).tolist() == [1.0, 0.5, 0.0]
    assert recall(np.zeros((3, 4)), own, 2).tolist() == [0.5, 0.5, 0.0]


def test_what_a_report_says() -> None:
    """Affirmed, uncertain, denied, nothing; and None where no word is understood."""
    said = dict(zip(CODES, concepts("Effusion. Possible pneumonia. No pneumothorax.") or [], strict=True))

    assert (said["pleural-effusion"], said["pneumonia"], said["pneumothorax"], said["fracture"]) == (1.0, 0.5, -1.0, 0.0)
    assert concepts("No acute findings.") == [*[0.0] * (len(CODES) - 1), 1.0]
    assert concepts("xyz") is None
    assert nih_reports.sentence("Effusion|Pleural_Thickening") == "Effusion. Pleural Thickening."


def site(folder: Path, patients: int, shuffled: bool = False) -> tuple[Path, Films]:
    """A film and, in a row of its own, a report of each patient. The film's grey level tells its number."""
    rng, rows = np.random.default_rng(1), ["study,patient,image,text"]
    kinds = np.arange(patients) % len(REPORTS)
    for n, kind in enumerate(rng.permutation(kinds) if shuffled else kinds):
        picture = rng.integers(0, 255, (80, 80)).astype(np.uint8)
        picture[40:] //= 2
        Image.fromarray(picture).save(folder / f"{n}.png")
        rows += [f"s{n},p{n},{n}.png,", f'{"s" if n % 2 else "x"}{n},p{n},,"{REPORTS[kind]}"']
    (folder / "align.csv").write_text("\n".join(rows))
    return folder / "align.csv", Films(folder, None, 64)


def look(films: Sequence[Film], _: Any) -> np.ndarray:
    """Features in which each film's kind shows, weakly, beside much else."""
    rng = np.random.default_rng(3)
    return MIX[np.arange(len(films)) % len(REPORTS)] + rng.normal(size=(len(films), FEATURES)) * 3


def test_what_films_and_reports_share_is_found_and_helps_few_pairs(tmp_path: Path) -> None:
    """Reports of patients held out are found again far above what is said most often; a read-out of a dozen pairs gets better by it."""
    path, films = site(tmp_path, 160)
    found = aligned(path, films, look, {"p0"}, 1)
    first = found.figures["recall"]["1"]

    assert found.figures["left_out"] == {"patients of the pairs": 2}
    for gain, used, words in ((0.02, True, "this version uses it"), (-0.2, False, "It did harm (image alone)")):
        told = {"image alone": {"auc": 0.7, "without": 0.6, "gain_95": (gain, gain + 0.1)}}
        assert evaluation.helps(told) == used
        section = card.of_alignment({**found.figures, "origin": nih_reports.ORIGIN, "finetuning": told, "used": used})
        assert words in section
        assert "159 films and 159 reports of 159 other patients" in section
    assert (found.figures["films"], found.figures["by_study"]) == (159, 80)
    assert first["kinds"] == len(REPORTS)
    assert first["aligned_minus_chance_95"][0] > 0
    assert first["both_minus_common_95"][0] > 0
    rng, kinds = np.random.default_rng(9), np.arange(400) % len(REPORTS)
    seen, sick = MIX[kinds] + rng.normal(size=(400, FEATURES)) * 3, kinds == 0
    few = rng.permutation(400)[:24]
    with_it, without = (readout.fit(seen[few], sick[few], 200.0, favoured) for favoured in (found.directions, None))
    assert auc(sick, with_it(seen)) > auc(sick, without(seen)) + 0.05


def test_reports_of_others_teach_nothing(tmp_path: Path) -> None:
    """Shuffled among the patients they are not found again, and the figures say so."""
    path, films = site(tmp_path, 160, shuffled=True)
    first = aligned(path, films, look, (), 1).figures["recall"]["1"]

    assert first["aligned_minus_chance_95"][0] <= 0.05


def test_too_few_are_refused(tmp_path: Path) -> None:
    """With the number there is."""
    path, films = site(tmp_path, alignment.FEWEST_PATIENTS - 1)
    with pytest.raises(StackError, match="19 patients"):
        aligned(path, films, look, (), 1)
    with pytest.raises(StackError, match="0 films"):
        aligned(path, films, look, {f"p{n}" for n in range(30)}, 1)


@pytest.mark.parametrize("helps", [True, False])
def test_whose_films_were_aligned_is_known_where_that_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helps: bool) -> None:
    """Such a version is not tested on them afterwards."""
    pairs, written, body = made_up(), list[dict[str, Any]](), artefact.load().onnx
    monkeypatch.setattr(build, "_write", lambda *told: written.append(told[3]) or tmp_path)
    monkeypatch.setattr(build, "_exported", lambda *_: (body, 0.0))
    monkeypatch.setattr(build, "_said", lambda *_: np.full(len(pairs), 0.5))
    monkeypatch.setattr(evaluation, "helps", lambda _: helps)
    monkeypatch.setattr(evaluation, "REPEATS", 1)
    site = build.Site("made up", tmp_path, Recipe(), SIDE, Aligned(np.eye(WIDTH)[:, :2], {}, frozenset({"aligned"})))
    build.build(pairs, audit(manifest(pairs)), site)

    assert written[0]["learned_from"].patients.has("aligned", hashlib.sha256(body).hexdigest()) == helps


def test_patients_on_either_side_count(tmp_path: Path) -> None:
    """With a film and a report, but for those of the pairs."""
    path, films = site(tmp_path, 24)
    assert aligned(path, films, look, {"p0"}, 1).patients == {f"p{n}" for n in range(1, 24)}
