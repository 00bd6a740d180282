"""What a manifest turned out to hold, counted and said in plain words before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pipeline.domain.catalogue import BY_NAME
from pipeline.errors import StackError
from pipeline.models.finetuning.pairs import Manifest, Pair, Refusal

FEWEST_PATIENTS = 4
"""With the outcome, and without: of fewer nothing can be learned and tested."""
SMALL = 200
"""Patients below which a split leaves too few to test on."""
_RARE = 0.05
"""Share of the rows below which the outcome, or its absence, is rare."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts are of the rows that are used, unless they say otherwise."""

    rows: int
    used: int
    refused: dict[str, int]
    refusals: tuple[Refusal, ...]
    patients: int
    patients_with_outcome: int
    patients_with_both_outcomes: int
    with_outcome: int
    without_image: int
    without_observations: int
    without_text: int
    observables: dict[str, int]
    unknown_to_the_catalogue: tuple[str, ...]
    values_after_the_picture: int
    values_out_of_range: int
    first_date: str | None
    last_date: str | None
    hospitals: dict[str, int]
    patients_in_several_hospitals: int
    unused_columns: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def balance(self) -> float:
        """Share of the rows with the outcome."""
        return self.with_outcome / self.used if self.used else 0.0


def audit(manifest: Manifest, testing: bool = False) -> Audit:
    """Counts, and what to think of them. testing: nothing will be learned of these pairs."""
    pairs, by_patient = manifest.pairs, _by_patient(manifest.pairs)
    outcomes = [{pair.outcome for pair in rows} for rows in by_patient.values()]
    dates = sorted(pair.date for pair in pairs if pair.date is not None)
    observables = Counter(name for pair in pairs for name in {seen.name for seen in pair.observations})
    found = Audit(
        rows=manifest.rows,
        used=len(pairs),
        refused=dict(Counter(refusal.reason for refusal in manifest.refused).most_common()),
        refusals=tuple(manifest.refused),
        patients=len(by_patient),
        patients_with_outcome=sum(True in each for each in outcomes),
        patients_with_both_outcomes=sum(len(each) == 2 for each in outcomes),
        with_outcome=sum(pair.outcome for pair in pairs),
        without_image=sum(pair.picture is None for pair in pairs),
        without_observations=sum(not pair.observations for pair in pairs),
        without_text=sum(not pair.text for pair in pairs),
        observables=dict(observables.most_common()),
        unknown_to_the_catalogue=tuple(sorted(observables.keys() - BY_NAME.keys())),
        values_after_the_picture=manifest.left.after_the_picture,
        values_out_of_range=manifest.left.out_of_range,
        first_date=f"{dates[0]:%Y-%m-%d}" if dates else None,
        last_date=f"{dates[-1]:%Y-%m-%d}" if dates else None,
        hospitals=dict(Counter(pair.hospital for pair in pairs if pair.hospital).most_common()),
        patients_in_several_hospitals=sum(len({pair.hospital for pair in rows}) > 1 for rows in by_patient.values()),
        unused_columns=manifest.unused_columns,
        remarks=(),
    )
    return _with_remarks(found, testing)


def require_enough(found: Audit) -> None:
    """Raises StackError where there is too little, or one class only."""
    without = found.patients - found.patients_with_outcome + found.patients_with_both_outcomes
    if min(found.patients_with_outcome, without) < FEWEST_PATIENTS:
        raise StackError(
            f"{found.patients_with_outcome} patients with the outcome and {without} without are too few to learn from and test on",
            f"bring at least {FEWEST_PATIENTS} of each; refused rows are listed above with their reasons",
        )


def _by_patient(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    rows: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        rows[pair.patient].append(pair)
    return rows


_Remark = tuple[Callable[[Audit], bool], str]
_OF_LEARNING: tuple[_Remark, ...] = (
    (lambda a: a.patients < SMALL, "{a.patients} patients are few: figures come from repeated cross-validation, with wide intervals"),
    (
        lambda a: a.patients_with_both_outcomes > 0,
        "{a.patients_with_both_outcomes} patients have rows with and without the outcome; each patient stays on one side of every split",
    ),
    (
        lambda a: bool(a.unknown_to_the_catalogue),
        "not in the catalogue, learned from these pairs alone, in the unit of the manifest: {unknown}",
    ),
)
_REMARKS: tuple[_Remark, ...] = (
    (
        lambda a: a.used > 0 and not _RARE <= a.balance <= 1 - _RARE,
        "the outcome is rare or nearly always there: {a.balance:.1%} of the rows",
    ),
    (
        lambda a: a.patients_in_several_hospitals > 0,
        "{a.patients_in_several_hospitals} patients stand under several hospitals: if numbers are given anew in each, prefix them",
    ),
    (
        lambda a: a.values_after_the_picture > 0,
        "{a.values_after_the_picture} values are from after the picture and left out: a model would look into the future",
    ),
    (lambda a: a.values_out_of_range > 0, "{a.values_out_of_range} values are outside what their unit can be, and left out"),
    (lambda a: bool(a.refused), "{refusals} of {a.rows} rows are refused"),
    (lambda a: bool(a.unused_columns), "columns without a use here: {unused}"),
)


def _with_remarks(found: Audit, testing: bool) -> Audit:
    unknown, unused = ", ".join(found.unknown_to_the_catalogue), ", ".join(found.unused_columns)
    remarks = _REMARKS if testing else (*_OF_LEARNING, *_REMARKS)
    words = [text.format(a=found, unknown=unknown, unused=unused, refusals=len(found.refusals)) for holds, text in remarks if holds(found)]
    return replace(found, remarks=tuple(words))
