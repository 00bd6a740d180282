"""Drift: today's shares beside those that the model was made on."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.domain.drift import LEAST, MISSING, RISK, bins, columns, drifts, psi, reference_of
from pipeline.domain.shadow import ShadowScore, compare
from schemas.assessments import Features, Risk
from tests.store_fixtures import START


def row(rate: float | None) -> Features:
    return Features(values={} if rate is None else {"heart_rate.last": rate}, age=60.0, sex="F")


MADE_ON = [row(None if n % 4 == 0 else 50.0 + n % 100) for n in range(1000)]
REFERENCE = reference_of(columns(MADE_ON, [n / 1000 for n in range(1000)]))


def counted(rows: list[Features], risks: list[float]) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for seen, chance in zip(rows, risks, strict=True):
        found.update(bins(REFERENCE, seen, Risk(scorer="triton", probability=chance)))
    return found


def test_the_same_population_has_not_drifted() -> None:
    """What the model was made on, counted, is the reference."""
    found = {one.input: one for one in drifts(REFERENCE, counted(MADE_ON, [n / 1000 for n in range(1000)]))}

    assert (found["heart_rate"].psi, found["heart_rate"].verdict, found["heart_rate"].missing) == (0.0, "as made on", 0.25)
    assert found[RISK].psi == 0.0


def test_another_population_comes_first() -> None:
    """Faster hearts, and none missing: the input is at the top, with both shares."""
    top = drifts(REFERENCE, counted([row(140.0)] * 500, [n / 500 for n in range(500)]))[0]

    assert (top.input, top.verdict, top.missing, top.missing_before) == ("heart_rate", "another population", 0.0, 0.25)


def test_few_rows_say_nothing() -> None:
    """Chance alone moves ten bins of a hundred rows."""
    found = drifts(REFERENCE, counted(MADE_ON[: LEAST - 1], [0.5] * (LEAST - 1)))

    assert {one.verdict for one in found} == {"too few"}


def test_psi_by_hand() -> None:
    """(0.5 - 0.25) ln 2 + (0.5 - 0.75) ln (2/3)."""
    assert psi([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.25 * 0.693147 + 0.25 * 0.405465, abs=1e-5)


def test_missing_has_a_bin_of_its_own() -> None:
    """Unknown is not normal, here neither."""
    assert ("heart_rate", MISSING) in set(bins(REFERENCE, row(None), None))


def test_a_candidate_beside_the_served() -> None:
    """Who puts whom higher, who crosses the threshold, and where they are furthest apart."""
    scores = [ShadowScore(f"p{n}", n, START, "1", n / 10, "2", n / 10 + (0.3 if n == 4 else 0.0)) for n in range(10)]
    (found,) = compare(scores, 0.5)

    assert (found.scores, found.higher, found.crossing) == (10, 0.1, 0.1)
    assert found.most_apart[0][0] == "p4"
    assert found.mean_absolute_difference == pytest.approx(0.03)
    assert found.agreement is not None and 0.9 < found.agreement < 1
