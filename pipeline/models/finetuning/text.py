"""What the words of orders say beyond the emergencies that they name: a few dimensions of weighted words, learned with the outcome.

Two, by partial least squares. On generated orders (no open data set has real ones) a word that tells something was heard by it from 60
patients on; sixteen dimensions of a truncated singular value decomposition needed 150, and from there they and plain ridge were alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfTransformer

from pipeline.models.evaluation.calibration import fit_logistic

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
FEWEST_PATIENTS = 20
"""With words, before anything is learned of them."""
DIMENSIONS = 2
"""Fewer where less is told."""
_FEWEST = 5
"""Patients in whose orders a bucket must be, and as many in whose it is not."""
_RIDGE = 3.0
_NOTHING = 1e-9
"""Of a covariance as large as it could be."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """idf: [buckets], 0 where too few have a word of it. axes: [buckets, k]. mean, weight: [k]."""

    idf: Matrix
    axes: Matrix
    mean: Matrix
    weight: Matrix

    def logits(self, buckets: Mask) -> Matrix:
        """Of [n, buckets]: [n], without an intercept; 0 where no word counts."""
        weighted = buckets * self.idf
        length = np.linalg.norm(weighted, axis=1)
        told = weighted / np.maximum(length, 1e-9)[:, None] @ self.axes - self.mean
        return np.where(length > 0, told @ self.weight, 0.0)

    def described(self) -> dict[str, int]:
        """What stands in metrics.json."""
        return {"buckets": len(self.idf), "heard": int((self.idf > 0).sum()), "dimensions": len(self.weight)}


def learned(buckets: Mask, positive: Mask, patient: NDArray[np.str_]) -> TextPart | None:
    """From rows [n, buckets]; None where they are too few, or their words the same."""
    rows = buckets.any(1)
    each = [_patients(patient[rows & kind]) for kind in (positive, ~positive)]
    if min(each) < _FEWEST or _patients(patient[rows]) < FEWEST_PATIENTS:
        return None
    seen = buckets[rows]
    used = _counting(seen, patient[rows])
    if not used.any():
        return None
    weighing = TfidfTransformer().fit(seen[:, used].astype(np.float64))
    idf = np.zeros(buckets.shape[1])
    idf[used] = weighing.idf_
    known = seen[:, used].any(1)
    weighted = weighing.transform(seen[known][:, used].astype(np.float64)).toarray()
    directions = _directions(weighted, positive[rows][known].astype(np.float64))
    if not directions.size:
        return None
    embedded = weighted @ directions
    mean, size = embedded.mean(0), embedded.std(0) + 1e-9
    axes = np.zeros((buckets.shape[1], directions.shape[1]))
    axes[used] = directions / size
    weight = fit_logistic((embedded - mean) / size, positive[rows][known], ridge=_RIDGE)[:-1]
    return TextPart(idf, axes, mean / size, weight)


def _directions(weighted: Matrix, outcome: Matrix) -> Matrix:
    """[columns, k] by partial least squares: NIPALS with one outcome (Wold, 1984), which ends where nothing is left to tell: words that
    always stand together, as in a ready-made sentence, are one direction, and those of a sentence that is always the same are none.
    scikit-learn's PLSRegression gives the same elsewhere, but divides nothing by nothing there."""
    rest, told = weighted - weighted.mean(0), outcome - outcome.mean()
    least = _NOTHING * float(np.linalg.norm(rest) * np.linalg.norm(told))
    weights, loadings = list[Matrix](), list[Matrix]()
    while len(weights) < DIMENSIONS and (length := float(np.linalg.norm(rest.T @ told))) > least:
        weights.append(rest.T @ told / length)
        score = rest @ weights[-1]
        loadings.append(rest.T @ score / (score @ score))
        rest = rest - np.outer(score, loadings[-1])
    if not weights:
        return np.zeros((weighted.shape[1], 0))
    found: Matrix = np.column_stack(weights) @ np.linalg.inv(np.stack(loadings) @ np.column_stack(weights))
    return found


def _counting(buckets: Mask, patient: NDArray[np.str_]) -> Mask:
    """[buckets]: neither nearly nobody's nor nearly everybody's."""
    order = np.argsort(patient, kind="stable")
    _, starts = np.unique(patient[order], return_index=True)
    there, always = (way.reduceat(buckets[order], starts, axis=0) for way in (np.logical_or, np.logical_and))
    found: Mask = np.minimum(there.sum(0), (~always).sum(0)) >= _FEWEST
    return found


def _patients(patient: NDArray[np.str_]) -> int:
    return len(set(patient.tolist()))
