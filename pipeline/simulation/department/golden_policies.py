"""The page's policy table (section 2.3), and ours beside EDF 20/45/480 on the same studies, with the assumptions varied.

Published figures of the policy table come from other random streams of the same size (12 runs of 60,000), so two chances meet: each of
ours is moved to the published run's own first-come-first-served figure of the same kind (control variate), and the interval is widened by
the square root of two for the published one's own, and by what both were rounded. Where a policy leaves most runs as they were under
first come, first served, a quantile is no normal variable: 0.5 % is added for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec.structs import replace

from pipeline.simulation.department import published
from pipeline.simulation.department.golden import CONFIDENCE, Row, Sample, Step
from pipeline.simulation.department.intervals import CONFIDENCE as USUAL
from pipeline.simulation.department.intervals import Estimate, controlled, of_batches
from pipeline.simulation.department.loading import load
from pipeline.simulation.department.report import EDGE
from pipeline.simulation.department.scenario import Order, Rule, Scenario, Sign
from pipeline.simulation.department.streams import Floats

RUN = 60_000
RUNS, NIGHTLY_RUNS = 12, 40
_STATISTICS = ("mean", "p99", "maximum")


def policy_table(seed: int = 1, runs: int = RUNS, step: Step = lambda _: None) -> Iterator[Row]:
    """Mean, 99th percentile and maximum of a run, by policy and true class."""
    sample = Sample(load("policies"), RUN * runs, seed, runs)
    fifo = {key: sample_statistic(sample, sample.rule("FIFO"), *key) for key in _keys()}
    for policy, figures in published.POLICIES.items():
        step(f"policies: {policy}")
        for disease, row in zip(published.POLICY_CLASSES, figures, strict=True):
            for statistic, figure in zip(_STATISTICS, row, strict=True):
                mine, key = sample_statistic(sample, sample.rule(policy), disease, statistic), (disease, statistic)
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


def _keys() -> list[tuple[str, str]]:
    return [(disease, statistic) for disease in published.POLICY_CLASSES for statistic in _STATISTICS]


def _of_two(estimate: Estimate, exact: bool) -> Estimate:
    """The interval of a difference of two such runs."""
    assert estimate.plus_minus is not None
    return Estimate(estimate.value, estimate.plus_minus * math.sqrt(2) + 1.0 + exact * 0.005 * estimate.value)


def sample_statistic(sample: Sample, rule: Rule, disease: str, statistic: str) -> Floats:
    """One value a run."""
    wait, mask = sample.wait(rule), sample.mask(disease)
    if statistic == "mean":
        return sample.means(rule, disease)
    count = len(wait) - 2 * EDGE
    runs = np.array_split(np.arange(EDGE, EDGE + count), sample.counted.number)
    pieces = [wait[part][mask[part]] for part in runs]
    return np.array([piece.max() if statistic == "maximum" else np.quantile(piece, 0.99) for piece in pieces])


# --- ours --------------------------------------------------------------------------------------------------------------------------


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Ours beside EDF 20/45/480 on the same studies. mean: ours by true class; moved: ours less EDF's, paired, 95 %.

    maximum: the longest wait of a study without disease; strict: that of the strict hierarchy; means over batches.
    """

    assumption: str
    mean: dict[str, Estimate]
    moved: dict[str, Estimate]
    maximum: float
    strict: float

    @property
    def as_good(self) -> bool:
        """LVO and ICH wait no longer (beyond chance), and none without disease longer than under the strict hierarchy."""
        flagged = all(moved.value <= (moved.plus_minus or 0.0) for moved in (self.moved["LVO"], self.moved["ICH"]))
        return flagged and self.maximum <= self.strict

    @property
    def better_for_sah(self) -> bool:
        """Beyond chance."""
        return self.moved["SAH"].value + (self.moved["SAH"].plus_minus or math.inf) < 0


BASE = "base: all urgent inpatients (12 h), AI as calibrated risk"
CONTEXT = "base, with indications and vital signs"
BOTH = "AI flags as findings, with indications and vital signs"


def required(comparison: Comparison) -> bool | None:
    """Whether what must hold under this assumption does; None where nothing must: it shows what the result depends on."""
    demands = {
        BASE: comparison.as_good,
        CONTEXT: comparison.better_for_sah,
        BOTH: comparison.as_good and comparison.better_for_sah,
    }
    return demands.get(comparison.assumption)


def comparisons(studies: int, seed: int = 1, step: Step = lambda _: None) -> Iterator[Comparison]:
    """The base first, then what it depends on."""
    context = load("context")
    ours = next(rule for rule in context.policies if rule.name == "Readfirst")
    bare, whole = replace(context, signs=[]), ours
    findings = replace(ours, minutes={"LVO": 20, "ICH": 45})
    rows: list[tuple[str, Scenario, Rule]] = [
        (BASE, bare, ours),
        (CONTEXT, context, whole),
        ("context half as telling of SAH", replace(context, signs=_scaled(context.signs, sick=0.5)), whole),
        ("context twice as often in the others", replace(context, signs=_scaled(context.signs, healthy=2)), whole),
        ("context, and CTA orders say stroke (LVO 90 %, others 60 %)", replace(context, signs=[*context.signs, _STROKE]), whole),
        ("AI flags as findings: LVO 20 min, ICH 45 min", bare, findings),
        (BOTH, context, findings),
        ("all urgent outpatients (24 h)", _ordered(bare, Order(name="24 h", priority="urgent", patient_class="O")), ours),
        ("all routine emergency (4 h)", _ordered(bare, Order(name="4 h", priority="routine", patient_class="E")), ours),
        ("all urgent emergency (2 h)", _ordered(bare, Order(name="2 h", priority="urgent", patient_class="E")), ours),
        ("a quarter 2 h, half 12 h, a quarter 24 h, blind to disease", replace(bare, orders=_MIXED), ours),
    ]
    for assumption, scenario, rule in rows:
        step(f"ours: {assumption}")
        yield _compare(assumption, Sample(scenario, studies, seed, 20), rule)


_STROKE = Sign(name="stroke suspected", groups=["CTA"], indication="stroke?", given={"LVO": 0.9, "none": 0.6})
_MIXED = [
    Order(name="2 h", share=0.25, priority="urgent", patient_class="E"),
    Order(name="12 h", share=0.5, priority="urgent", patient_class="I"),
    Order(name="24 h", share=0.25, priority="urgent", patient_class="O"),
]


def _ordered(scenario: Scenario, order: Order) -> Scenario:
    return replace(scenario, orders=[order])


def _scaled(signs: list[Sign], sick: float = 1, healthy: float = 1) -> list[Sign]:
    factors = {"SAH": sick, "none": healthy}
    return [replace(sign, given={name: share * factors.get(name, 1) for name, share in sign.given.items()}) for sign in signs]


def _compare(assumption: str, sample: Sample, ours: Rule) -> Comparison:
    edf, strict = sample.rule("EDF 20/45/480"), sample.rule("strict hierarchy")
    return Comparison(
        assumption=assumption,
        mean={name: of_batches(sample.means(ours, name)) for name in published.POLICY_CLASSES},
        moved={name: of_batches(sample.means(ours, name) - sample.means(edf, name), USUAL) for name in published.POLICY_CLASSES},
        maximum=float(sample_statistic(sample, ours, "none", "maximum").mean()),
        strict=float(sample_statistic(sample, strict, "none", "maximum").mean()),
    )
