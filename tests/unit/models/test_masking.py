"""Masks take away whole observables, and only those meant."""

from __future__ import annotations

import numpy as np

from pipeline.domain import features
from pipeline.models.clinical import masking

FULL = np.ones((4000, len(features.NAMES)), dtype=np.float32)


def test_modalities_part_the_observables() -> None:
    """Vitals, labs and demographics together are all, and share none."""
    parts = np.stack([masking.MODALITIES[name] for name in ("vitals only", "labs only", "demographics only")])

    assert (parts.sum(0) == 1).all()
    assert masking.MODALITIES["labs only"][features.GROUPS.index("potassium")]
    assert masking.MODALITIES["vitals only"][features.GROUPS.index("gcs")]


def test_keep_takes_all_numbers_of_an_observable() -> None:
    """What is left is present in full, the rest not at all."""
    kept = masking.keep(FULL[:1], masking.MODALITIES["labs only"])

    assert (masking.present(kept)[0] == masking.MODALITIES["labs only"]).all()
    assert np.isnan(kept[0, features.NAMES.index("gcs.delta")])
    assert kept[0, features.NAMES.index("ph.delta")] == 1


def test_newest_only() -> None:
    """History goes, the newest value and its age stay; other rows are untouched."""
    x = masking.newest_only(FULL[:2], np.array([True, False]))
    row = dict(zip(features.NAMES, x[0].tolist(), strict=True))

    assert row["ph.last"] == row["ph.age_h"] == row["age"] == 1
    assert np.isnan([row["ph.min"], row["ph.span_h"], row["ph.count"], row["ph.earlier"]]).all()
    assert (x[1] == 1).all()


def test_training_sees_every_kind_of_gap() -> None:
    """At random: some rows whole, some without labs, without vitals, without history; about four in five observables stay."""
    x = masking.at_random(FULL, np.random.default_rng(0))
    there = masking.present(x)
    labs, vitals = masking.MODALITIES["labs only"], masking.MODALITIES["vitals only"]

    assert there.all(1).any()
    assert 0.04 < (~there[:, labs].any(1)).mean() < 0.1
    assert 0.02 < (~there[:, vitals].any(1)).mean() < 0.08
    assert 0.65 < there.mean() < 0.85
