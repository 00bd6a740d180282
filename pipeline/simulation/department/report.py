"""What a simulation found, as one document: waits by true class, AI class and order class, what was saved and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from pipeline.domain.site import DEFAULT, Policy
from pipeline.simulation.department import live, starvation
from pipeline.simulation.department.intervals import Estimate, batch_means, of_batches
from pipeline.simulation.department.running import Run, run
from pipeline.simulation.department.scenario import NO_DISEASE, OTHERS, Rule, Scenario
from pipeline.simulation.department.starvation import Bound
from pipeline.simulation.department.streams import INTERRUPTING, Bools, Floats, Studies, draw

BATCHES = 20
EDGE = 1000
"""Studies before and after those that count: the list fills up, and what came last is overtaken by others too."""
SHARES = (*(round(n / 40, 3) for n in range(40)), 0.98, 0.985, 0.99, 0.995, 0.998, 0.999)
_TRACE_DAYS, _TRACE_POINTS, _GRID = 7, 336, 20_000


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one class, in minutes. p95, p99 and batch_maximum are means over batches; maximum is the run's. curve: at the report's shares."""

    studies: int
    mean: Estimate
    median: float
    p95: Estimate
    p99: Estimate
    maximum: float
    batch_maximum: Estimate
    reading: float
    turnaround: float
    late: float
    """share that waited longer than the order allows by itself"""
    curve: list[float]


class OpenStudies(msgspec.Struct, frozen=True):
    """Studies that came and are not yet read, those on the table included. trace: at `minutes` from the first counted study."""

    mean: float
    p95: float
    maximum: int
    minutes: list[float]
    trace: list[int]


class PolicyReport(msgspec.Struct, frozen=True, kw_only=True):
    """saved and added: paired with first come, first served without AI, on the same studies; minutes a study.

    by_hour: mean wait of those that came in each hour of the day. added_per_other: over all studies but the true positives;
    added_per_non_diseased: over those without a disease.
    """

    name: str
    kind: str
    waits: Waits
    by_disease: dict[str, Waits]
    by_ai: dict[str, Waits]
    by_order: dict[str, Waits]
    by_hour: list[float | None]
    saved_per_true_positive: Estimate | None
    added_per_other: Estimate | None
    added_per_non_diseased: Estimate | None
    open_studies: OpenStudies
    bound: Bound
    studies_per_second: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """site: version of the rules by which Readfirst ranks. load: share of the readers' time, without and with AI.

    shares: of the studies of a class, for the curves of waits.
    """

    scenario: str
    site: str
    title: str
    source: str
    assumptions: list[str]
    seed: int
    studies: int
    batches: int
    confidence: float = 0.95
    load: float
    load_with_ai: float
    alerts_per_hundred: float
    positive_predictive_value: float | None
    shares: list[float]
    policies: list[PolicyReport]


def simulate(
    scenario: Scenario,
    rules: Iterable[Rule] | None = None,
    exams: int | None = None,
    seed: int | None = None,
    batches: int = BATCHES,
    step: Callable[[str], None] = lambda _: None,
    site: Policy = DEFAULT,
) -> Report:
    """Every policy on the same studies. step: told the name of each policy before it runs. site: the rules by which Readfirst ranks."""
    count, seed = exams or scenario.exams, scenario.seed if seed is None else seed
    studies = draw(scenario, count + 2 * EDGE, seed)
    counted = Counted(scenario, studies, batches, site)
    reports = []
    step("first come, first served")
    baseline = run(scenario, studies, Rule(name="FIFO", kind="fifo"))
    for rule in scenario.policies if rules is None else rules:
        step(rule.name)
        reports.append(counted.policy(baseline if rule.kind == "fifo" else run(scenario, studies, rule, site), baseline, rule))
    flagged = counted.among & (studies.flagged < len(scenario.ais))
    capacity = scenario.capacity(frozenset(group.name for group in scenario.groups))
    span = studies.arrival[-1] - studies.arrival[0]
    return Report(
        scenario=scenario.name,
        site=site.version,
        title=scenario.title,
        source=scenario.source,
        assumptions=scenario.assumptions,
        seed=seed,
        studies=count,
        batches=batches,
        load=float(studies.minutes.sum() / span / capacity),
        load_with_ai=float(studies.minutes_with_ai.sum() / span / capacity),
        alerts_per_hundred=float(100 * flagged.sum() / count),
        positive_predictive_value=float(studies.found[flagged].mean()) if flagged.any() else None,
        shares=list(SHARES),
        policies=reports,
    )


class Counted:
    """The studies between the two edges, by class."""

    def __init__(self, scenario: Scenario, studies: Studies, batches: int, site: Policy = DEFAULT) -> None:
        self._scenario, self._studies, self.number = scenario, studies, batches
        self._inner = slice(EDGE, len(studies) - EDGE)
        self.among = np.zeros(len(studies), np.bool_)
        self.among[self._inner] = True
        self._targets = live.targets(scenario, studies, site)
        self._hour = (studies.arrival % 1440 // 60).astype(np.int64)

    def policy(self, run: Run, baseline: Run, rule: Rule) -> PolicyReport:
        wait, saved = run.wait(self._studies), baseline.wait(self._studies) - run.wait(self._studies)
        normal, healthy, found = ~self._studies.interrupting, self._studies.disease == 0, self._studies.found
        return PolicyReport(
            name=rule.name,
            kind=rule.kind,
            waits=self._waits(run, wait, np.ones(len(wait), np.bool_)),
            by_disease={name: self._waits(run, wait, mask) for name, mask in self.diseases().items()},
            by_ai={name: self._waits(run, wait, mask) for name, mask in self._ai_classes().items()},
            by_order={
                one.name: self._waits(run, wait, self._studies.order == n)
                for n, one in enumerate(self._scenario.orders)
                if (self.among & (self._studies.order == n)).any()
            },
            by_hour=[self._at(wait, n) for n in range(24)],
            saved_per_true_positive=self._mean(saved, found),
            added_per_other=self._mean(-saved, normal & ~found),
            added_per_non_diseased=self._mean(-saved, normal & healthy),
            open_studies=self._open(run),
            bound=starvation.bound(self._scenario, self._studies, run.begun, run.due),
            studies_per_second=round(len(wait) / run.seconds),
        )

    def diseases(self) -> dict[str, Bools]:
        """True classes that have studies."""
        normal = ~self._studies.interrupting
        masks = {name: self._studies.disease == n + 1 for n, name in enumerate(self._scenario.diseases)}
        masks[NO_DISEASE] = normal & (self._studies.disease == 0)
        masks[INTERRUPTING] = self._studies.interrupting & (self._studies.disease == 0)
        return {name: mask for name, mask in masks.items() if (mask & self.among).any()}

    def batches(self, wait: Floats, among: Bools) -> Floats:
        """The mean of each batch over the counted studies of a class."""
        return batch_means(wait[self._inner], among[self._inner], self.number)

    def _ai_classes(self) -> dict[str, Bools]:
        normal = ~self._studies.interrupting
        names = [f"{ai.name}+" for ai in self._scenario.ais] + [OTHERS]
        masks = {name: normal & (self._studies.flagged == n) for n, name in enumerate(names)}
        return {name: mask for name, mask in masks.items() if (mask & self.among).any()}

    def _at(self, wait: Floats, hour: int) -> float | None:
        mask = self.among & (self._hour == hour)
        return round(float(wait[mask].mean()), 2) if mask.any() else None

    def _mean(self, values: Floats, among: Bools) -> Estimate | None:
        return of_batches(self.batches(values, among)) if (among & self.among).any() else None

    def _waits(self, run: Run, wait: Floats, among: Bools) -> Waits:
        mask = among & self.among
        mine = wait[mask]
        pieces = [piece for piece in (wait[part][among[part]] for part in self._parts()) if len(piece)]
        return Waits(
            studies=len(mine),
            mean=of_batches(self.batches(wait, among)),
            median=float(np.median(mine)),
            p95=of_batches(np.array([np.quantile(piece, 0.95) for piece in pieces])),
            p99=of_batches(np.array([np.quantile(piece, 0.99) for piece in pieces])),
            maximum=float(mine.max()),
            batch_maximum=of_batches(np.array([piece.max() for piece in pieces])),
            reading=float(run.minutes[mask].mean()),
            turnaround=float((mine + run.minutes[mask]).mean()),
            late=float((mine > self._targets[mask]).mean()),
            curve=[round(float(one), 2) for one in np.quantile(mine, SHARES)],
        )

    def _parts(self) -> list[slice]:
        edges = np.linspace(EDGE, len(self.among) - EDGE, self.number + 1).astype(int)
        return [slice(edges[n], edges[n + 1]) for n in range(self.number)]

    def _open(self, run: Run) -> OpenStudies:
        finished = np.sort(run.finished)
        begin, end = self._studies.arrival[EDGE], self._studies.arrival[-EDGE]

        def there(at: Floats) -> np.ndarray:
            return np.searchsorted(self._studies.arrival, at, side="right") - np.searchsorted(finished, at, side="right")

        grid = there(np.linspace(begin, end, _GRID))
        trace = np.linspace(begin, min(begin + _TRACE_DAYS * 1440, end), _TRACE_POINTS)
        return OpenStudies(
            mean=float(grid.mean()),
            p95=float(np.quantile(grid, 0.95)),
            maximum=int(grid.max()),
            minutes=[round(float(one - begin), 1) for one in trace],
            trace=[int(one) for one in there(trace)],
        )
