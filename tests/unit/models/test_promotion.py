"""A candidate that is worse beyond chance is objected to, for all and by subgroup."""

from __future__ import annotations

import numpy as np

from pipeline.models.promotion import compare

RNG = np.random.default_rng(1)
OUTCOME = RNG.random(1500) < 0.2
SIGNAL = np.clip(np.where(OUTCOME, 0.45, 0.15) + RNG.normal(0, 0.12, 1500), 0.01, 0.99)
WOMEN = RNG.random(1500) < 0.5


def test_the_same_model_meets_no_objection() -> None:
    """Nor does one that differs by noise."""
    noisy = np.clip(SIGNAL + RNG.normal(0, 0.005, 1500), 0.0, 1.0)

    assert not [words for one in compare(OUTCOME, SIGNAL, SIGNAL, {"women": WOMEN}) for words in one.objections]
    assert not [words for one in compare(OUTCOME, SIGNAL, noisy, {"women": WOMEN}) for words in one.objections]


def test_worse_for_some_is_told_though_fine_for_all() -> None:
    """Noise for women alone: the subgroup objects with its figures."""
    harmed = np.where(WOMEN, RNG.permutation(SIGNAL), SIGNAL)
    objections = [words for one in compare(OUTCOME, SIGNAL, harmed, {"women": WOMEN, "men": ~WOMEN}) for words in one.objections]

    assert any(words.startswith("women: AUC") for words in objections)
    assert not any(words.startswith("men") for words in objections)


def test_badly_calibrated_is_told() -> None:
    """The order of patients is the same, the probabilities are not."""
    (found,) = compare(OUTCOME, SIGNAL, np.sqrt(SIGNAL), {})

    assert found.auc_candidate == found.auc_served
    assert any("calibration error" in words for words in found.objections)


def test_small_groups_say_nothing() -> None:
    """Nine patients are no subgroup."""
    few = np.zeros(1500, np.bool_)
    few[:9] = True

    assert [one.group for one in compare(OUTCOME, SIGNAL, SIGNAL, {"few": few})] == ["all"]
