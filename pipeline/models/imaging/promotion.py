"""An image head beside the served one, on films of patients that neither was made on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.pictures import OnnxHead
from pipeline.domain.image_answer import LIMIT, HeadReference
from pipeline.domain.image_heads import odds_at
from pipeline.models.evaluation.bootstrap import bootstrap_difference
from pipeline.models.evaluation.discrimination import Labels, Scores
from pipeline.models.imaging import evaluation, films, foreign
from pipeline.models.promotion import SAMPLES, Compared, compare

FINDING = "pneumonia"
"""What the films of NIH are labelled with."""
_SPOILED_EVERY = 10


def compare_on(data: Path, served: Path, candidate: Path) -> tuple[list[Compared], list[str]]:
    """NIH's patients held out, and the card's subgroups, each head's probabilities brought to the share there; and what else speaks
    against the candidate: findings that it does not know, films that it refuses, spoiled films that it lets pass.

    Raises NotFound where the films are not, StackError for a damaged head.
    """
    before, after = (OnnxHead(heads.load_from(each), threads=2) for each in (served, candidate))
    lost = _codes(before.reference) - _codes(after.reference)
    if before.reference.side != after.reference.side or FINDING in lost:
        return [], [f"it looks at other pictures, or does not know {FINDING}: the two cannot be compared"]
    whole = films.nih(data, before.reference.side)
    test = whole.chosen(films.held_out(whole.patient, "nih"))
    share = float(test.positive.mean())
    (first, far), (second, further) = (head.run(test.pictures) for head in (before, after))
    old, new = _at(share, before.reference, first), _at(share, after.reference, second)
    compared = compare(test.positive, old, new, evaluation.members(test), test.patient)
    spoiled = foreign.spoiled(test.pictures[::_SPOILED_EVERY], tuple(foreign.WAYS), 0)
    strange = (head.run(spoiled)[1] for head in (before, after))
    objections = [f"it does not know {code}" for code in sorted(lost)]
    return compared, objections + refusals(test.patient, far, further, *strange)


def refusals(
    patients: NDArray[np.str_],
    films_served: NDArray[np.floating],
    films_candidate: NDArray[np.floating],
    spoiled_served: NDArray[np.floating],
    spoiled_candidate: NDArray[np.floating],
) -> list[str]:
    """Objections to what a candidate refuses. Each array: unlikeness [n, 1]; patients: of the films."""
    found = []
    low, _ = _share_difference(films_candidate, films_served, patients)
    if low > 0:
        found.append(f"it refuses {_share(films_candidate):.0%} of the films, the served one {_share(films_served):.0%}")
    _, high = _share_difference(spoiled_candidate, spoiled_served, None)
    if high < 0:
        found.append(f"it refuses {_share(spoiled_candidate):.0%} of the spoiled films, the served one {_share(spoiled_served):.0%}")
    return found


def _codes(reference: HeadReference) -> set[str]:
    return {finding.code for finding in reference.findings}


def _at(share: float, reference: HeadReference, found: NDArray[np.floating]) -> Scores:
    """The finding's probabilities where `share` of the films have it, as ranking brings them to the site's share."""
    place = [finding.code for finding in reference.findings].index(FINDING)
    return np.array([odds_at(float(chance), reference.findings[place].prevalence, share) for chance in found[:, place]])


def _share(unlikeness: NDArray[np.floating]) -> float:
    return float((unlikeness > LIMIT).mean())


def _share_difference(
    candidate: NDArray[np.floating], served: NDArray[np.floating], patients: NDArray[np.str_] | None
) -> tuple[float, float]:
    def share(_: Labels, refused: Scores) -> float:
        return float(refused.mean())

    refused, before = ((each[:, 0] > LIMIT).astype(float) for each in (candidate, served))
    return bootstrap_difference(share, np.ones(len(refused), np.bool_), refused, before, patients, SAMPLES)
