"""What speaks against a candidate: figures worse than the served model's beyond what chance explains, for all or for a subgroup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.evaluation.bootstrap import Interval, bootstrap_difference
from pipeline.models.evaluation.calibration import ece
from pipeline.models.evaluation.discrimination import Labels, Scores, auc
from pipeline.models.evaluation.summary import SMALLEST_SUBGROUP

SAMPLES = 400


@dataclass(frozen=True, slots=True)
class Compared:
    """Of one group of patients: both models' AUC and calibration error, and the 95 % intervals of candidate minus served."""

    group: str
    patients: int
    outcomes: int
    auc_served: float
    auc_candidate: float
    auc_difference: Interval
    ece_served: float
    ece_candidate: float
    ece_difference: Interval

    @property
    def objections(self) -> list[str]:
        """In words; none where the difference may be chance."""
        found = []
        low, high = self.auc_difference
        if high < 0:
            found.append(
                f"{self.group}: AUC {self.auc_candidate:.3f} against {self.auc_served:.3f}, worse by {-high:.3f} to {-low:.3f} "
                f"({self.patients} patients, {self.outcomes} with the outcome)"
            )
        low, high = self.ece_difference
        if low > 0:
            found.append(f"{self.group}: calibration error {self.ece_candidate:.3f} against {self.ece_served:.3f}")
        return found


def compare(
    outcome: Labels, served: Scores, candidate: Scores, members: Mapping[str, Labels], patients: NDArray[np.generic] | None = None
) -> list[Compared]:
    """Both models on the same patients: for all, then for each subgroup large enough to say something. Intervals by patient."""
    groups = {"all": np.ones(len(outcome), np.bool_), **members}
    return [
        _compared(name, outcome[rows], served[rows], candidate[rows], None if patients is None else patients[rows])
        for name, rows in groups.items()
        if rows.sum() >= SMALLEST_SUBGROUP and 0 < outcome[rows].sum() < rows.sum()
    ]


def _compared(name: str, outcome: Labels, served: Scores, candidate: Scores, patients: NDArray[np.generic] | None) -> Compared:
    return Compared(
        group=name,
        patients=len(outcome),
        outcomes=int(outcome.sum()),
        auc_served=auc(outcome, served),
        auc_candidate=auc(outcome, candidate),
        auc_difference=bootstrap_difference(auc, outcome, candidate, served, patients, SAMPLES),
        ece_served=ece(outcome, served),
        ece_candidate=ece(outcome, candidate),
        ece_difference=bootstrap_difference(ece, outcome, candidate, served, patients, SAMPLES),
    )
