"""The golden tables: published figures beside our closed forms and our simulation, with the deviations, judged.

A closed form holds within 0.5 % of the wait (and the last printed digit). A simulated mean holds where its interval covers the closed
form; there are some eighty of them, so each interval has 99.9 %. Means are paired with first come, first served on the same arrivals,
whose true mean is known (control variate): at these loads chance alone moves a plain mean of 200,000 studies by some per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from msgspec.structs import replace

from pipeline.domain.site import DEFAULT, Policy
from pipeline.simulation.department import published, theory
from pipeline.simulation.department.intervals import Estimate, controlled, of_batches
from pipeline.simulation.department.loading import load
from pipeline.simulation.department.report import EDGE, Counted
from pipeline.simulation.department.running import run
from pipeline.simulation.department.scenario import Arrivals, Group, Readers, Rule, Scenario
from pipeline.simulation.department.streams import Bools, Floats, draw

CALCULATOR = "the calculator's AI+ and AI- do not add up to FIFO's wait (0.18 x 0.3902 + 0.82 x 22.1610 = 18.2423, not 18.2863); ours do"
CONFIDENCE = 0.999
TOLERANCE = 0.005
BATCHES = 40
CI_STUDIES, NIGHTLY_STUDIES = 200_000, 2_000_000
Step = Callable[[str], None]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. allowed: how far ours may be from the published one. simulated is judged by `reference`: ours, or the published one."""

    table: str
    name: str
    published: float
    ours: float | None = None
    allowed: float = 0.0
    simulated: Estimate | None = None
    note: str = ""

    @property
    def reference(self) -> float:
        """What the simulation must cover."""
        return self.published if self.ours is None else self.ours

    @property
    def holds(self) -> bool:
        """Whether every part is within its bounds."""
        near = self.ours is None or abs(self.ours - self.published) <= self.allowed
        return near and (self.simulated is None or self.simulated.holds(self.reference))


class Sample:
    """A scenario's studies, and what its policies make of them, a value a batch. site: the rules by which Readfirst ranks."""

    def __init__(self, scenario: Scenario, count: int, seed: int, batches: int = BATCHES, site: Policy = DEFAULT) -> None:
        self.scenario, self._site = scenario, site
        self.studies = draw(scenario, count + 2 * EDGE, seed)
        self.counted = Counted(scenario, self.studies, batches)
        self._waits: dict[str, Floats] = {}

    def rule(self, name: str) -> Rule:
        """One of the scenario's."""
        return next(rule for rule in self.scenario.policies if rule.name == name)

    def wait(self, rule: Rule) -> Floats:
        """Simulated once a rule."""
        if rule.name not in self._waits:
            self._waits[rule.name] = run(self.scenario, self.studies, rule, self._site).wait(self.studies)
        return self._waits[rule.name]

    def mask(self, name: str) -> Bools:
        """A true class, "all" of those that do not interrupt, or "AI+" and "AI-"."""
        normal = ~self.studies.interrupting
        flagged = self.studies.flagged < len(self.scenario.ais)
        special = {"all": normal, "AI+": normal & flagged, "AI-": normal & ~flagged}
        return special[name] if name in special else self.counted.diseases()[name]

    def means(self, rule: Rule, name: str) -> Floats:
        """Of each batch."""
        return self.counted.batches(self.wait(rule), self.mask(name))

    def longest(self, rule: Rule, name: str, runs: int) -> Floats:
        """The longest wait of each of so many runs."""
        return np.array([wait.max() for wait in self._pieces(rule, name, runs)])

    def quantiles(self, rule: Rule, name: str, share: float) -> Floats:
        """Of each batch."""
        return np.array([np.quantile(wait, share) for wait in self._pieces(rule, name, self.counted.number)])

    def _pieces(self, rule: Rule, name: str, number: int) -> list[Floats]:
        wait, mask = self.wait(rule), self.mask(name)
        return [wait[part][mask[part]] for part in np.array_split(np.arange(EDGE, len(wait) - EDGE), number)]

    def estimate(self, rule: Rule, name: str) -> Estimate:
        """Paired with first come, first served, of which the true mean is known."""
        fifo = self.rule("FIFO")
        if rule.kind == "fifo":
            return of_batches(self.means(rule, name), CONFIDENCE)
        return controlled(self.means(rule, name), self.means(fifo, name), theory.waits(self.scenario, fifo)[0], CONFIDENCE)


def tables(studies: int, seed: int = 1, step: Step = lambda _: None) -> Iterator[Row]:
    """G1, G2 and G3. studies: simulated for each figure."""
    step("G1")
    yield from _g1("G1", load("g1"), published.G1, studies, seed)
    step("G1 without interruption")
    yield from _g1("G1, begun is finished", replace(load("g1"), preemption="none"), published.G1_FINISHED, studies, seed)
    step("G2")
    yield from _g2(studies, seed)
    for (readers, share), by_traffic in published.G3.items():
        for traffic, figures in by_traffic.items():
            step(f"G3: {readers} readers, {share:.0%} interrupting, traffic {traffic}")
            yield from _g3(readers, share, traffic, figures, studies, seed)


def _g1(table: str, scenario: Scenario, figures: dict[tuple[str, str], float], studies: int, seed: int) -> Iterator[Row]:
    sample = Sample(scenario, studies, seed)
    for (policy, disease), figure in figures.items():
        rule = sample.rule(policy)
        ours = theory.waits(scenario, rule)[0] if disease == "all" else theory.of_disease(scenario, rule, disease)
        yield Row(
            table=table,
            name=f"{policy}: {disease}",
            published=figure,
            ours=ours,
            allowed=_allowed(figure),
            simulated=sample.estimate(rule, disease),
        )


def _g2(studies: int, seed: int) -> Iterator[Row]:
    scenario = load("g2")
    sample = Sample(scenario, studies, seed)
    for (policy, name), figure in published.G2.items():
        rule = sample.rule(policy)
        by_class = theory.waits(scenario, rule)
        ours = {"all": by_class[0], "AI+": by_class[0], "AI-": by_class[-1]}.get(name)
        if ours is None:
            ours = theory.of_disease(scenario, rule, name)
        note = CALCULATOR if name in ("none", "AI-") else ""
        estimate = sample.estimate(rule, name)
        yield Row(
            table="G2", name=f"{policy}: {name}", published=figure, ours=ours, allowed=_allowed(figure, 4), simulated=estimate, note=note
        )


def grid(readers: int, interrupting: float, traffic: float) -> Scenario:
    """One cell of G3: a tenth of the studies that do not interrupt is diseased."""
    base, both = load("g3"), {group.name: group for group in load("g2").groups}
    groups = [replace(both["exams"], share=1 - interrupting)]
    urgent: list[Group] = [replace(both["interrupting"], share=interrupting)] if interrupting else []
    return replace(base, readers=[Readers(count=readers)], arrivals=Arrivals(traffic=traffic), groups=groups + urgent)


def _g3(readers: int, share: float, traffic: float, figures: tuple[float, float, float], studies: int, seed: int) -> Iterator[Row]:
    scenario = grid(readers, share, traffic)
    sample = Sample(scenario, studies, seed)
    fifo, flag = sample.rule("FIFO"), sample.rule("flag first")
    at, table = f"{readers} readers, {share:.0%}, {traffic}", "G3"
    base = theory.waits(scenario, fifo)[0]
    estimate = sample.estimate(fifo, "all")
    yield Row(table=table, name=f"{at}: FIFO", published=figures[0], ours=base, allowed=_allowed(figures[0]), simulated=estimate)
    for what, disease, figure, sign in (("saved", "disease", figures[1], -1), ("delayed", "none", figures[2], 1)):
        wait = theory.of_disease(scenario, flag, disease)
        moved = sign * (sample.means(flag, disease) - sample.means(fifo, disease))
        yield Row(
            table=table,
            name=f"{at}: {what}",
            published=figure,
            ours=sign * (wait - base),
            allowed=_allowed(base + sign * figure) + 0.005,  # both waits were rounded
            simulated=controlled(moved, sample.means(fifo, disease), base, CONFIDENCE),
            note=CALCULATOR if (readers, share, traffic, what) == (2, 0.1, 0.8, "delayed") else "",
        )


def _allowed(wait: float, digits: int = 2) -> float:
    return float(TOLERANCE * wait + 0.5 * np.power(10.0, -digits))
