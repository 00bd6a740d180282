"""`train --seed`: what is drawn goes by it, and without it by the seed of what ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("lightgbm", reason="training needs the extra train")
pytest.importorskip("onnxscript", reason="training needs the extra train")
pytest.importorskip("torch", reason="training needs the extra train")

from pipeline import cli
from pipeline.cli import models
from pipeline.models.clinical import build as clinical
from pipeline.models.clinical.recipe import Recipe as ClinicalRecipe
from pipeline.models.imaging import build as imaging
from pipeline.models.imaging import readout
from pipeline.models.imaging.recipe import SEED
from pipeline.models.multimodal import build as multimodal
from pipeline.models.multimodal.recipe import Recipe

FIGURES: dict[str, Any] = {name: {} for name in ("results", "death_cross_validation", "death_set_b", "pneumonia_held_out", "sharing")}


@pytest.mark.parametrize(("asked", "seed"), [([], None), (["--seed", "7"], 7)])
def test_every_training_is_given_the_seed(asked: list[str], seed: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both that ship, and the rival."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(models, "_require_data", lambda data: None)
    monkeypatch.setattr(imaging, "build", lambda data, out, **rest: given.update(imaging=rest["seed"]) or {})
    for name, module in (("clinical", clinical), ("multimodal", multimodal)):
        monkeypatch.setattr(module, "build", lambda data, out, recipe, *_, name=name: given.update({name: recipe.seed}) or FIGURES)
    for what in ("all", "multimodal"):
        result = CliRunner().invoke(cli.build(("models",)), ["train", what, "--out", str(tmp_path), "--json", *asked])
        assert result.exit_code == 0, result.output

    shipped = {"imaging": SEED, "clinical": ClinicalRecipe().seed, "multimodal": Recipe().seed}
    assert given == (shipped if seed is None else dict.fromkeys(shipped, seed))


def test_the_members_of_the_spread_go_by_the_seed() -> None:
    """Another draws other patients; the default is that of what ships."""
    rng = np.random.default_rng(0)
    features, positive, patient = rng.normal(size=(40, 3)), np.arange(40) % 2 == 0, np.array([f"p{row // 2}" for row in range(40)])
    plain, same, other = (readout.members(features, positive, patient, 1.0, **rest) for rest in ({}, {"seed": SEED}, {"seed": 2}))

    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(plain, same, strict=True))
    assert not any(np.array_equal(a.weight, b.weight) for a, b in zip(plain, other, strict=True))
