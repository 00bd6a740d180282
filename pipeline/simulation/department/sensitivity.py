"""Readfirst beside EDF 20/45/480 in G1's reading room, on the same studies: what must hold, and which assumptions carry it.

Arrivals, diseases, AI answers and reading times have random streams of their own, so that neither orders nor context change what the
rivals do: they are simulated once, and every variation of ours is paired with them. The longest wait is that of a run of 60,000 studies,
as the published table's. In short runs it is another thing: within 2,000 studies no deadline of 12 h has helped anyone yet, and who is
overtaken by evidence as well as by flags waits longest under ours.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import partial

import msgspec
from msgspec.structs import replace

from pipeline.domain.site import DEFAULT, Policy
from pipeline.simulation.department import published
from pipeline.simulation.department.golden import Sample, Step
from pipeline.simulation.department.intervals import Estimate, of_batches
from pipeline.simulation.department.loading import load
from pipeline.simulation.department.scenario import NO_DISEASE, Order, Scenario, Sign

BATCHES = 20
STUDIES = published.RUN * published.RUNS
FALSE_FLAGS = (2, 4)
CAUTIOUS = dataclasses.replace(DEFAULT, version="cautious/1", image=dataclasses.replace(DEFAULT.image, full_from=0.9))
"""A site that lets an answer pull in full only where it is nearly always right; all else as by default."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Ours beside EDF 20/45/480. mean: ours by true class; moved: ours less EDF's, paired, 95 %.

    longest: wait of a study without disease in a run of 60,000; longest_moved: ours less the strict hierarchy's. demands: which of
    "as_good" and "better_for_sah" must hold here; where nothing must, the row shows what the result depends on.
    """

    assumption: str
    site: str
    mean: dict[str, Estimate]
    moved: dict[str, Estimate]
    longest: Estimate
    longest_moved: Estimate
    demands: tuple[str, ...] = ()

    @property
    def as_good(self) -> bool:
        """LVO and ICH wait no longer, and no study without disease longer than under the strict hierarchy; each beyond chance."""
        return all(one.value <= (one.plus_minus or 0.0) for one in (self.moved["LVO"], self.moved["ICH"], self.longest_moved))

    @property
    def better_for_sah(self) -> bool:
        """Beyond chance."""
        return self.moved["SAH"].value + (self.moved["SAH"].plus_minus or math.inf) < 0

    @property
    def whole(self) -> bool:
        """All that is asked of ours with context."""
        return self.as_good and self.better_for_sah

    @property
    def holds(self) -> bool | None:
        """Whether what must hold does; None where nothing must."""
        return all(getattr(self, demand) for demand in self.demands) if self.demands else None


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of evidence, seen in a share of SAH and in a share of all others that it may be seen in."""

    in_sah: float
    in_others: float
    found: Comparison


class Room:
    """G1 without interruption, and the two rivals in it. studies: simulated. false_flags: times as many as G1's AIs raise."""

    def __init__(self, studies: int = STUDIES, seed: int = 1, false_flags: int = 1) -> None:
        scenario = load("context")
        ais = [replace(ai, specificity=1 - false_flags * (1 - ai.specificity)) for ai in scenario.ais]
        self.context = replace(scenario, ais=ais)
        self.alone = replace(self.context, signs=[])
        self._ours = next(rule for rule in self.context.policies if rule.name == "Readfirst")
        self._draw = partial(Sample, count=studies, seed=seed, batches=BATCHES)
        rivals = self._draw(self.alone)
        self._edf = {name: rivals.means(rivals.rule("EDF 20/45/480"), name) for name in published.POLICY_CLASSES}
        self._runs = max(round(studies / published.RUN), 2)
        self._strict = rivals.longest(rivals.rule("strict hierarchy"), NO_DISEASE, self._runs)

    def compare(self, assumption: str, scenario: Scenario, site: Policy, demands: tuple[str, ...] = ()) -> Comparison:
        """scenario: this room with other orders or signs."""
        sample = self._draw(scenario, site=site)
        means = {name: sample.means(self._ours, name) for name in published.POLICY_CLASSES}
        longest = sample.longest(self._ours, NO_DISEASE, self._runs)
        return Comparison(
            assumption=assumption,
            site=site.version,
            mean={name: of_batches(mean) for name, mean in means.items()},
            moved={name: of_batches(mean - self._edf[name]) for name, mean in means.items()},
            longest=of_batches(longest),
            longest_moved=of_batches(longest - self._strict),
            demands=demands,
        )


# --- what must hold, and what it depends on ----------------------------------------------------------------------------------------


ALONE = "AI alone"
CONTEXT = "AI, indications, vital signs"


def demanded(room: Room, site: Policy) -> Iterator[Comparison]:
    """Ours is as good without context, and with it as good and better for SAH."""
    yield room.compare(ALONE, room.alone, site, ("as_good",))
    yield room.compare(CONTEXT, room.context, site, ("as_good", "better_for_sah"))


def varied(room: Room, site: Policy, step: Step = lambda _: None) -> Iterator[Comparison]:
    """Other context and other orders, all else as in `demanded`."""
    for assumption, scenario in _variations(room):
        step(f"{site.version}: {assumption}")
        yield room.compare(assumption, scenario, site)


def false_flags(rooms: dict[int, Room], site: Policy, step: Step = lambda _: None) -> Iterator[Comparison]:
    """What it costs to believe AIs that are wrong more often. rooms: by how many times as often they flag what is healthy."""
    for times, room in rooms.items():
        step(f"{site.version}: {times} times as many false flags")
        yield room.compare(f"{CONTEXT}; {times} times as many false flags, which EDF follows too", room.context, site)


def _variations(room: Room) -> Iterator[tuple[str, Scenario]]:
    signs, ordered = room.context.signs, partial(_ordered, room.context)
    yield "context half as often in SAH", replace(room.context, signs=_scaled(signs, sick=0.5))
    yield "context twice as often in those without disease", replace(room.context, signs=_scaled(signs, healthy=2))
    yield "CTA orders say stroke: 90 % of LVO, 60 % of others", replace(room.context, signs=[*signs, _STROKE])
    yield "all urgent outpatients (24 h)", ordered(Order(name="24 h", priority="urgent", patient_class="O"))
    yield "all routine emergency (4 h)", ordered(Order(name="4 h", priority="routine", patient_class="E"))
    yield "all urgent emergency (2 h)", ordered(Order(name="2 h", priority="urgent", patient_class="E"))
    yield "a quarter 2 h, half 12 h, a quarter 24 h, blind to disease", ordered(*_MIXED)


_STROKE = Sign(name="stroke suspected", groups=["CTA"], indication="stroke?", given={"LVO": 0.9, "none": 0.6})
_MIXED = (
    Order(name="2 h", share=0.25, priority="urgent", patient_class="E"),
    Order(name="12 h", share=0.5, priority="urgent", patient_class="I"),
    Order(name="24 h", share=0.25, priority="urgent", patient_class="O"),
)


def _ordered(scenario: Scenario, *orders: Order) -> Scenario:
    return replace(scenario, orders=list(orders))


def _scaled(signs: list[Sign], sick: float = 1, healthy: float = 1) -> list[Sign]:
    factors = {"SAH": sick, "none": healthy}
    return [replace(sign, given={name: share * factors.get(name, 1) for name, share in sign.given.items()}) for sign in signs]


# --- how good the evidence must be -------------------------------------------------------------------------------------------------


IN_SAH = (0.05, 0.1, 0.25, 0.5, 0.75)
IN_OTHERS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
EVIDENCE = {
    "an indication of bleeding (20 min), on head CT": Sign(name="words", groups=["NCCT"], indication="thunderclap headache", given={}),
    "vital signs of NEWS2 7 (30 min), on any study": Sign(
        name="unwell", news2={"respiration": 25, "pulse": 95, "not_alert": True}, given={}
    ),
}


def grid(room: Room, evidence: str, site: Policy, step: Step = lambda _: None) -> Iterator[Cell]:
    """One kind of evidence besides the AIs, which cannot tell ICH, LVO and studies without disease apart."""
    for in_sah in IN_SAH:
        step(f"{site.version}: {evidence}, in {in_sah:.0%} of SAH")
        for in_others in IN_OTHERS:
            given = {"SAH": in_sah, **dict.fromkeys(("ICH", "LVO", "none"), in_others)}
            scenario = replace(room.alone, signs=[replace(EVIDENCE[evidence], given=given)])
            yield Cell(in_sah=in_sah, in_others=in_others, found=room.compare(evidence, scenario, site))
