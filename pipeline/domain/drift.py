"""Whether what a model sees, and what it says, is still what it was made on: shares by bin, compared by the population stability index.

PSI = sum over bins of (p - q) ln(p / q), p the reference's share of a bin and q today's. The usual reading in credit scoring, where it
comes from: below 0.1 no change, 0.1 to 0.25 look at it, above 0.25 another population.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from pipeline.domain.features import DEMOGRAPHICS, OBSERVABLES
from schemas.assessments import Features, Risk

RISK = "risk"
MISSING = -1
"""The bin of a value that is not there."""
SETTLED, LOOK = 0.1, 0.25
LEAST = 200
"""Rows of which PSI says something: with ten bins, chance alone gives about 9 / n."""
_FLOOR = 1e-4
"""Smallest share counted with, so that an empty bin does not weigh infinitely; half a row where that is more: of 200 rows none in a bin
that holds one in fifty says little."""

Verdict = Literal["as made on", "look at it", "another population", "too few"]
Counts = Mapping[tuple[str, int], int]
"""(input, bin) -> how many."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Of the rows that a model was made on. edges: input -> inner edges of its bins; shares: of the rows that have the input, the missing
    ones first. rows: of the input that has most."""

    rows: int
    edges: dict[str, list[float]]
    shares: dict[str, list[float]]


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Of one input (or the risk). missing, missing_before: shares of rows without it."""

    input: str
    rows: int
    psi: float
    missing: float
    missing_before: float
    verdict: Verdict


def bins(reference: Reference, seen: Features, risk: Risk | None) -> Iterable[tuple[str, int]]:
    """Where one request falls: a bin for each input of the reference, and for the risk where there is a probability."""
    values = {name: value_of(seen, name) for name in reference.edges if name != RISK}
    return placed(reference, values if risk is None or risk.probability is None else {**values, RISK: risk.probability})


def placed(reference: Reference, values: Mapping[str, float | None]) -> Iterable[tuple[str, int]]:
    """A bin for each value that the reference knows by name; None is a value that is not there."""
    for name, value in values.items():
        if (edges := reference.edges.get(name)) is not None:
            yield name, MISSING if value is None else bisect_right(edges, value)


def value_of(seen: Features, name: str) -> float | None:
    """The newest value of an observable, or a demographic as a number."""
    if name == "age":
        return seen.age
    if name == "sex":
        return {"F": 1.0, "M": 0.0}.get(seen.sex)
    return seen.values.get(f"{name}.last")


def columns(rows: Sequence[Features], risks: Sequence[float]) -> dict[str, list[float | None]]:
    """Each input of these rows, and the risk."""
    return {**{name: [value_of(row, name) for row in rows] for name in (*OBSERVABLES, *DEMOGRAPHICS)}, RISK: list(risks)}


def reference_of(
    series: Mapping[str, Sequence[float | None]], parts: int = 10, fixed: Mapping[str, Sequence[float]] | None = None
) -> Reference:
    """Bins of equal shares (fewer where values are repeated), of what is present. series: input -> its value in each row.

    fixed: edges of inputs that are no quantities.
    """
    edges = {name: _edges([value for value in values if value is not None], parts) for name, values in series.items()}
    edges |= {name: list(given) for name, given in (fixed or {}).items()}
    shares = {}
    for name, values in series.items():
        counts = Counter(MISSING if value is None else bisect_right(edges[name], value) for value in values)
        shares[name] = [round(counts[place] / len(values), 6) for place in range(MISSING, len(edges[name]) + 1)]
    return Reference(rows=max(map(len, series.values())), edges=edges, shares=shares)


def renewed(reference: Reference, series: Mapping[str, Sequence[float | None]]) -> Reference:
    """The same with the bins of these inputs made anew."""
    fresh = reference_of(series)
    return Reference(
        rows=max(reference.rows, fresh.rows), edges={**reference.edges, **fresh.edges}, shares={**reference.shares, **fresh.shares}
    )


def drifts(reference: Reference, counts: Counts) -> list[Drift]:
    """Each input beside the reference, the most changed first."""
    found = [_drift(name, reference.shares[name], counts) for name in reference.edges]
    return sorted(found, key=lambda drift: (drift.verdict == "too few", -drift.psi, drift.input))


def psi(expected: Sequence[float], found: Sequence[float], floor: float = _FLOOR) -> float:
    """Of two lists of shares over the same bins."""
    pairs = [(max(p, floor), max(q, floor)) for p, q in zip(expected, found, strict=True)]
    return sum((p - q) * math.log(p / q) for p, q in pairs)


def _drift(name: str, shares: Sequence[float], counts: Counts) -> Drift:
    found = [counts.get((name, place), 0) for place in range(MISSING, len(shares) - 1)]
    rows = sum(found)
    if not rows:
        return Drift(input=name, rows=0, psi=0.0, missing=0.0, missing_before=shares[0], verdict="too few")
    value = psi(shares, [count / rows for count in found], max(_FLOOR, 0.5 / rows))
    verdict: Verdict = "as made on" if value < SETTLED else "look at it" if value < LOOK else "another population"
    return Drift(
        input=name,
        rows=rows,
        psi=round(value, 4),
        missing=round(found[0] / rows, 4),
        missing_before=shares[0],
        verdict=verdict if rows >= LEAST else "too few",
    )


def _edges(values: Sequence[float], parts: int) -> list[float]:
    ordered = sorted(values)
    if not ordered:
        return []
    cuts = (ordered[min(len(ordered) * part // parts, len(ordered) - 1)] for part in range(1, parts))
    return sorted({cut for cut in cuts if cut > ordered[0]})
