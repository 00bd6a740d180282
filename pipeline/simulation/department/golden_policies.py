"""The page's policy table (section 2.3).

Published figures of the policy table come from other random streams of the same size (12 runs of 60,000), so two chances meet: each of
ours is moved to the published run's own first-come-first-served figure of the same kind (control variate), and the interval is widened by
the square root of two for the published one's own, and by what both were rounded. Where a policy leaves most runs as they were under
first come, first served, a quantile is no normal variable: 0.5 % is added for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.simulation.department import published
from pipeline.simulation.department.golden import CONFIDENCE, Row, Sample, Step
from pipeline.simulation.department.intervals import Estimate, controlled, of_batches
from pipeline.simulation.department.loading import load
from pipeline.simulation.department.scenario import Rule
from pipeline.simulation.department.streams import Floats

NIGHTLY_RUNS = 40
_STATISTICS = ("mean", "p99", "maximum")


def policy_table(seed: int = 1, runs: int = published.RUNS, step: Step = lambda _: None) -> Iterator[Row]:
    """Mean, 99th percentile and maximum of a run, by policy and true class."""
    sample = Sample(load("policies"), published.RUN * runs, seed, runs)
    fifo = {key: _statistic(sample, sample.rule("FIFO"), *key) for key in _keys()}
    for policy, figures in published.POLICIES.items():
        step(f"policies: {policy}")
        for disease, row in zip(published.POLICY_CLASSES, figures, strict=True):
            for statistic, figure in zip(_STATISTICS, row, strict=True):
                mine, key = _statistic(sample, sample.rule(policy), disease, statistic), (disease, statistic)
                if policy == "FIFO":
                    found = of_batches(mine, CONFIDENCE)
                else:
                    base = published.POLICIES["FIFO"][published.POLICY_CLASSES.index(disease)][_STATISTICS.index(statistic)]
                    found = controlled(mine, fifo[key], base, CONFIDENCE)
                yield Row(
                    table="policies",
                    name=f"{policy}: {disease} {statistic}",
                    published=figure,
                    simulated=_of_two(found, statistic != "mean"),
                )


def _statistic(sample: Sample, rule: Rule, disease: str, statistic: str) -> Floats:
    """One value a run."""
    if statistic == "mean":
        return sample.means(rule, disease)
    return sample.longest(rule, disease, sample.counted.number) if statistic == "maximum" else sample.quantiles(rule, disease, 0.99)


def _keys() -> list[tuple[str, str]]:
    return [(disease, statistic) for disease in published.POLICY_CLASSES for statistic in _STATISTICS]


def _of_two(estimate: Estimate, exact: bool) -> Estimate:
    """The interval of a difference of two such runs."""
    assert estimate.plus_minus is not None
    return Estimate(estimate.value, estimate.plus_minus * math.sqrt(2) + 1.0 + exact * 0.005 * estimate.value)
