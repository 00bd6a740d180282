"""An image head beside the served one, on films of patients that neither was made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.pictures import OnnxHead
from pipeline.domain.image_answer import LIMIT, HeadReference
from pipeline.domain.image_heads import odds_at
from pipeline.models.evaluation.bootstrap import bootstrap_difference
from pipeline.models.evaluation.discrimination import Labels, Scores
from pipeline.models.imaging import evaluation, foreign
from pipeline.models.imaging.films import Films, Mask
from pipeline.models.promotion import SAMPLES, Compared, compare

TESTS: Mapping[str, tuple[Callable[[Path, int], Films], Callable[[Films], dict[str, Mask]]]] = {
    "nih": (evaluation.nih_held_out, evaluation.members),
}
"""Tasks that a head's description may name for its comparison: films of patients that no version was made on, and their subgroups."""
_SPOILED_EVERY = 10


def compare_on(data: Path, served: Path, candidate: Path, shipped: Path) -> tuple[list[Compared], list[str]]:
    """The task that the head's description names, and its subgroups, each version's probabilities brought to the share there; and what
    else speaks against the candidate: findings that it does not know, films that it refuses, spoiled films that it lets pass.

    Raises NotFound where the films are not, StackError for a damaged head.
    """
    before, after = (OnnxHead(heads.load_from(each), threads=2) for each in (served, candidate))
    lost = set(before.reference.codes) - set(after.reference.codes)
    task, finding = _task(before.reference, heads.reference_in(shipped))
    if task is None or task not in TESTS or finding is None:
        return [], [f"{before.reference.head} names no task that tells here how good it is: the two cannot be compared"]
    if before.reference.side != after.reference.side or finding in lost:
        return [], [f"it looks at other pictures, or does not know {finding}: the two cannot be compared"]
    read, members = TESTS[task]
    test = read(data, before.reference.side)
    share = float(test.positive.mean())
    (first, far), (second, further) = (head.run(test.pictures) for head in (before, after))
    old, new = _at(share, before.reference, finding, first), _at(share, after.reference, finding, second)
    compared = compare(test.positive, old, new, members(test), test.patient)
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


def _task(*references: HeadReference) -> tuple[str | None, str | None]:
    """What the first that tells is compared by, and the finding that it is about. Versions of old do not tell."""
    for one in references:
        if one.compared is not None:
            return one.compared, one.tasks.get(one.compared)
    return None, None


def _at(share: float, reference: HeadReference, finding: str, found: NDArray[np.floating]) -> Scores:
    """The finding's probabilities where `share` of the films have it, as ranking brings them to the site's share."""
    place = reference.codes.index(finding)
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
