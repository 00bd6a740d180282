"""Takes observables away, at random for training and by kind for the table of missing modalities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features
from pipeline.domain.catalogue import BY_NAME
from pipeline.models.clinical.dataset import Matrix

Mask = NDArray[np.bool_]

GROUP_OF_COLUMN = np.array([features.GROUPS.index(name.partition(".")[0]) for name in features.NAMES])
_HISTORY = np.array([name.partition(".")[2] in features.STATISTICS[2:] for name in features.NAMES])
HEAD_OF_GROUP = np.array([int(np.argmax(group == GROUP_OF_COLUMN)) for group in range(len(features.GROUPS))])
_LABS = np.array([name in BY_NAME and BY_NAME[name].kind == "lab" for name in features.GROUPS])
_VITALS = np.array([name in BY_NAME and BY_NAME[name].kind == "vital" for name in features.GROUPS])
_PERSON = ~(_LABS | _VITALS)

MODALITIES: dict[str, Mask] = {
    "all": np.ones_like(_LABS),
    "vitals and demographics": _VITALS | _PERSON,
    "labs and demographics": _LABS | _PERSON,
    "vitals only": _VITALS,
    "labs only": _LABS,
    "demographics only": _PERSON,
}
"""Name -> which of features.GROUPS stay."""


def present(x: Matrix) -> Mask:
    """[rows, groups]: which of features.GROUPS each row has."""
    return ~np.isnan(x[:, HEAD_OF_GROUP])


def keep(x: Matrix, groups: Mask) -> Matrix:
    """`x` with only these groups: [groups] for all rows alike, or [rows, groups]."""
    return np.where(np.atleast_2d(groups)[:, GROUP_OF_COLUMN], x, np.float32(np.nan))


def newest_only(x: Matrix, rows: Mask) -> Matrix:
    """`x` where `rows` know one value of each observable, as of a patient who has just come."""
    return np.where(rows[:, None] & _HISTORY, np.float32(np.nan), x)


def at_random(x: Matrix, rng: np.random.Generator) -> Matrix:
    """Seven rows of ten lose up to 60 % of their observables; 6 % all labs, 4 % all vitals; one in ten all history."""
    rows, groups = len(x), len(features.GROUPS)
    rate = np.where(rng.random(rows) < 0.7, rng.uniform(0, 0.6, rows), 0)
    kept = rng.random((rows, groups)) >= rate[:, None]
    fate = rng.random(rows)[:, None]
    kept &= np.where(fate < 0.06, ~_LABS, np.where(fate < 0.10, ~_VITALS, True))
    return newest_only(keep(x, kept), rng.random(rows) < 0.1)
