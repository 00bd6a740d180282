"""Pairs of made-up patients to fine-tune on: the outcome shows in the film and, weakly, in lactate."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from pipeline.models.finetuning.pairs import Left, Manifest, Observed, Pair

SIDE = 64
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def film(bright: bool, rng: np.random.Generator) -> np.ndarray:
    """Noise, and in the sick a fine-grained half."""
    picture = rng.integers(60, 120, (SIDE, SIDE))
    if bright:
        picture[SIDE // 2 :, ::2] += 110
    return picture.astype(np.uint8)


def made_up(patients: int = 24, seed: int = 0) -> list[Pair]:
    """Two rows a patient; the outcome shows in the film and, weakly, in lactate; a part is missing here and there."""
    rng = np.random.default_rng(seed)
    pairs = []
    for row in range(2 * patients):
        patient, outcome = row // 2, (row // 2) % 2 == 0
        lactate = Observed("lactate", float(np.exp(rng.normal(0.8 if outcome else 0.3, 0.5))), 1.0)
        pairs.append(
            Pair(
                line=row + 2,
                study=f"s{row}",
                patient=f"p{patient}",
                outcome=outcome,
                picture=film(outcome, rng) if row % 7 else None,
                digest=f"digest-{row}" if row % 7 else None,
                observations=(lactate, Observed("site_score", float(row), 0.0)) if row % 5 else (),
                text="sepsis?" if row % 3 == 0 else "",
                age=50.0 + patient,
                sex="F" if patient % 2 else "M",
                date=NOW,
                hospital="north" if patient % 3 else "south",
                projection="AP" if rng.random() < 0.5 else "PA",
                scanner="",
            )
        )
    return pairs


def manifest(pairs: list[Pair]) -> Manifest:
    """That holds these and refused none."""
    return Manifest(len(pairs), pairs, [], Left(), ())
