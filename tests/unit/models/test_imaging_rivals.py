"""What is compared with the head that ships learns what it should, and is told nothing of whom it is tested on."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `train` is not installed")

from pipeline.models.evaluation.discrimination import auc  # noqa: E402
from pipeline.models.imaging import attention, evaluation, rivals  # noqa: E402

RNG = np.random.default_rng(5)
N = 160
POSITIVE = RNG.random(N) < 0.5
FOLD = np.arange(N) // 4 % 3
IMAGE = RNG.normal(size=(N, 40)) + 0.6 * POSITIVE[:, None] * (np.arange(40) < 5)
LABS = np.where(RNG.random((N, 3)) < 0.3, np.nan, RNG.normal(size=(N, 3)) + 1.2 * POSITIVE[:, None])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough steps to learn what is plain."""
    monkeypatch.setattr(attention, "_STEPS", 40)
    monkeypatch.setattr(attention, "_SEEDS", 1)


def test_attention_answers_from_whatever_is_there() -> None:
    """Each input alone tells something, both more than nothing; no row's answer depends on an input that it was not given."""
    rows = attention.Rows(IMAGE, {"labs": LABS})
    image, labs, both = attention.crossed(rows, POSITIVE, FOLD, [("image",), ("labs",), ("image", "labs")])
    assert min(auc(POSITIVE, one) for one in (image, labs, both)) > 0.65
    assert auc(POSITIVE, both) > 0.75

    fitted = attention.Fitted(rows, POSITIVE)
    other = attention.Rows(IMAGE, {"labs": LABS[::-1] + 3})
    assert np.array_equal(fitted.logits(rows, ["image"]), fitted.logits(other, ["image"]))
    assert np.ptp(fitted.logits(rows, [])) == 0


def test_every_subset_of_the_inputs_has_a_late_fusion() -> None:
    """Out of fold: shuffled labels teach nothing."""
    parts = [(IMAGE, 30.0), (LABS, 3.0)]
    assert auc(POSITIVE, evaluation.late_fusion(parts, POSITIVE, FOLD)) > 0.75
    assert len(evaluation.SUBSETS) == 7
    chance = RNG.permutation(POSITIVE)
    assert auc(chance, evaluation.late_fusion(parts, chance, FOLD)) < 0.65


def test_a_kernel_machine_reads_what_no_line_can() -> None:
    """Two classes that are apart only by the product of two features."""
    points = RNG.normal(size=(400, 2))
    crossed = points.prod(1) > 0
    logits = rivals._kernel(points[:300], crossed[:300], points[300:])
    assert auc(crossed[300:], logits) > 0.9


def test_a_small_network_learns_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bright spot, wherever it lies; the same seed gives the same answers."""
    monkeypatch.setattr(rivals, "_EPOCHS", 8)
    pictures = torch.randn(96, 1, 32, 32, generator=torch.Generator().manual_seed(2)) * 0.3
    spot = np.arange(96) % 2 == 0
    for at in np.flatnonzero(spot):
        y, x = RNG.integers(8, 20, 2)
        pictures[at, 0, y : y + 6, x : x + 6] += 2
    first = rivals._network(pictures[:64], spot[:64], pictures[64:])
    assert auc(spot[64:], first) > 0.9
    assert np.array_equal(first, rivals._network(pictures[:64], spot[:64], pictures[64:]))
