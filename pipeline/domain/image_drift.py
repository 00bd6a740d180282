"""What is counted of the pictures that a head is asked about: how they were taken, whether it looked at them, and what it said."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.domain.image_answer import LIMIT
from schemas.findings import ImageAssessment

VIEW, MODALITY, REFUSED, UNLIKENESS = "view", "modality", "refused", "unlikeness"
VIEWS, MODALITIES = ("AP", "PA"), ("CR", "DX")
"""What has a bin of its own; every other word shares the last one."""
EDGES: Mapping[str, tuple[float, ...]] = {VIEW: (0.5, 1.5), MODALITY: (0.5, 1.5), REFUSED: (0.5,)}


def observed(view: str | None, modality: str | None, said: ImageAssessment) -> dict[str, float | None]:
    """As `drift.placed` takes it. A picture that could not be read has no unlikeness; one that is not judged has no findings."""
    values: dict[str, float | None] = {
        VIEW: place(view, VIEWS),
        MODALITY: place(modality, MODALITIES),
        REFUSED: float(said.refused is not None),
        UNLIKENESS: said.unlikeness,
    }
    return values | {finding.code: finding.probability for finding in said.findings}


def place(word: str | None, known: tuple[str, ...]) -> float | None:
    """A word of DICOM's as a number; None where the header is silent."""
    if word is None or not (word := word.strip().upper()):
        return None
    return float(known.index(word) if word in known else len(known))


def refused(unlikeness: float) -> float:
    """1 where a picture so unlike the films is refused."""
    return float(unlikeness > LIMIT)
