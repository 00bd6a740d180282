"""The closed forms applied to a scenario, where it has one: Poisson arrivals, exponential reading, all readers alike."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.simulation.department import closed_forms
from pipeline.simulation.department.closed_forms import Stream
from pipeline.simulation.department.scenario import Ai, Group, Rule, Scenario

OTHER = -1


def waits(scenario: Scenario, rule: Rule) -> list[float]:
    """Mean wait of each AI's class in the hierarchy, and last of what no AI flags. For fifo, flag and hierarchy."""
    shares = class_shares(scenario)
    if rule.kind == "fifo":
        return _solve(scenario, [sum(shares)]) * len(shares)
    if rule.kind == "flag":
        flagged, other = _solve(scenario, [sum(shares[:-1]), shares[-1]])
        return [flagged] * (len(shares) - 1) + [other]
    return _solve(scenario, shares)


def of_disease(scenario: Scenario, rule: Rule, disease: str) -> float:
    """A disease ("none" likewise) waits as the AIs of its groups flag it, rightly or not."""
    by_class = waits(scenario, rule)
    parts = [(group.share * _prevalence(group, disease), group) for group in scenario.groups if not group.interrupting]
    return sum(share * _wait(scenario, group, disease, by_class) for share, group in parts) / sum(share for share, _ in parts)


def _wait(scenario: Scenario, group: Group, disease: str, by_class: Sequence[float]) -> float:
    ai = _ai(scenario, group)
    if ai is None:
        return by_class[OTHER]
    chance = _chance(ai, disease)
    return chance * by_class[scenario.ais.index(ai)] + (1 - chance) * by_class[OTHER]


def class_shares(scenario: Scenario) -> list[float]:
    """Shares of all arrivals, without the interrupting: each AI's flags, and the rest. At most one AI a group."""
    flags = {ai.name: 0.0 for ai in scenario.ais}
    for group in scenario.groups:
        if ai := _ai(scenario, group):
            names = ["none", *(disease.name for disease in group.diseases)]
            flags[ai.name] += group.share * sum(_prevalence(group, name) * _chance(ai, name) for name in names)
    normal = sum(group.share for group in scenario.groups if not group.interrupting)
    return [*flags.values(), normal - sum(flags.values())]


def _ai(scenario: Scenario, group: Group) -> Ai | None:
    found = [ai for ai in scenario.ais if ai.group == group.name]
    if len(found) > 1:
        raise ValueError(f"two AIs look at {group.name}: no closed form here")
    return found[0] if found else None


def _chance(ai: Ai, disease: str) -> float:
    assert ai.sensitivity is not None
    return ai.sensitivity if disease == ai.finds else 1 - ai.specificity


def _prevalence(group: Group, disease: str) -> float:
    known = {one.name: one.prevalence for one in group.diseases}
    return 1 - sum(known.values()) if disease == "none" else known.get(disease, 0.0)


def _solve(scenario: Scenario, shares: list[float]) -> list[float]:
    rate, readers = scenario.per_minute(), sum(one.count for one in scenario.readers)
    (mean,) = {group.reading.mean for group in scenario.groups if not group.interrupting}
    streams = [Stream(rate * share, mean) for share in shares]
    urgent = [group for group in scenario.groups if group.interrupting]
    interrupting = closed_forms.mixture([Stream(rate * group.share, group.reading.mean) for group in urgent])
    if scenario.preemption == "none":
        if readers > 1 or urgent:
            raise ValueError("without interruption the closed form is of one reader")
        return closed_forms.non_preemptive(streams)
    return closed_forms.below_interruptions(readers, streams, interrupting)
