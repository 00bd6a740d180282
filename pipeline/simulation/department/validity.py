"""What a scenario may not say, though its types are right: each fault with its field and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from pipeline.domain.news2 import Observed
from pipeline.simulation.department.scenario import NO_DISEASE, OTHERS, Arrivals, Group, Scenario, mean_minutes

Fault = tuple[str, str]


def faults(scenario: Scenario) -> Iterator[Fault]:
    """Every (field, reason), those first on which later ones rest: take the first."""
    yield from _faulty_arrivals(scenario.arrivals)
    yield from _faulty_groups(scenario.groups)
    yield from _faulty_readers(scenario)
    yield from _faulty_ais(scenario)
    yield from _faulty_context(scenario)
    yield from _faulty_rules(scenario)
    yield from _overload(scenario)
    if not 1000 <= scenario.exams <= 50_000_000:
        yield "exams", f"from 1,000 to 50,000,000, not {scenario.exams}"


def _faulty_arrivals(arrivals: Arrivals) -> Iterator[Fault]:
    if (arrivals.traffic is None) == (arrivals.per_hour is None):
        yield "arrivals", "give either traffic or per_hour"
    elif not 0 < (arrivals.traffic or arrivals.per_hour or 0) < float("inf"):
        yield "arrivals", "traffic and per_hour are above 0"
    if arrivals.by_hour and (len(arrivals.by_hour) != 24 or min(arrivals.by_hour) < 0 or sum(arrivals.by_hour) <= 0):
        yield "arrivals.by_hour", "24 weights, none negative, not all zero"


def _faulty_groups(groups: list[Group]) -> Iterator[Fault]:
    if not groups:
        yield "groups", "at least one"
    if repeated := _repeated([group.name for group in groups]):
        yield "groups", f"{repeated} is there twice"
    for n, group in enumerate(groups):
        yield from _share(f"groups[{n}].share", group.share)
        if not 0 < group.reading.mean < float("inf"):
            yield f"groups[{n}].reading.mean", f"minutes above 0, not {group.reading.mean:g}"
        if not 0 < group.reading.variation < 20:
            yield f"groups[{n}].reading.variation", f"above 0 and below 20, not {group.reading.variation:g}"
        for m, disease in enumerate(group.diseases):
            at = f"groups[{n}].diseases[{m}]"
            yield from _share(f"{at}.prevalence", disease.prevalence)
            if disease.name in (NO_DISEASE, "interrupting"):
                yield f"{at}.name", f"{disease.name!r} is the name of those without"
            if disease.minutes is not None and not disease.minutes > 0:
                yield f"{at}.minutes", f"above 0, not {disease.minutes:g}"
        if (total := sum(disease.prevalence for disease in group.diseases)) > 1 + 1e-9:
            yield f"groups[{n}].diseases", f"prevalences add up to {total:g}, above 1"
    if abs((total := sum(group.share for group in groups)) - 1) > 1e-6:
        yield "groups", f"shares add up to {total:g}, not 1"


def _faulty_readers(scenario: Scenario) -> Iterator[Fault]:
    names = {group.name for group in scenario.groups}
    for n, readers in enumerate(scenario.readers):
        if not 1 <= readers.count <= 1000:
            yield f"readers[{n}].count", f"from 1 to 1000, not {readers.count}"
        if unknown := set(readers.groups) - names:
            yield f"readers[{n}].groups", f"there is no group {min(unknown)!r}"
        if readers.hours is not None and not (all(0 <= hour <= 24 for hour in readers.hours) and readers.on_duty > 0):
            yield f"readers[{n}].hours", "two different hours from 0 to 24"
    for name in sorted(names):
        if not any(name in scenario.reads(readers) for readers in scenario.readers):
            yield "readers", f"nobody reads {name}"


def _faulty_ais(scenario: Scenario) -> Iterator[Fault]:
    if repeated := _repeated([ai.name for ai in scenario.ais]):
        yield "ais", f"{repeated} is there twice"
    groups = {group.name: group for group in scenario.groups}
    for n, ai in enumerate(scenario.ais):
        if ai.name == OTHERS:
            yield f"ais[{n}].name", f"{OTHERS!r} is the name of what no AI flags"
        if ai.group not in groups:
            yield f"ais[{n}].group", f"there is no group {ai.group!r}"
        elif ai.finds not in {disease.name for disease in groups[ai.group].diseases}:
            yield f"ais[{n}].finds", f"group {ai.group} has no disease {ai.finds!r}"
        yield from _share(f"ais[{n}].specificity", ai.specificity)
        if (ai.sensitivity is None) == (not ai.roc):
            yield f"ais[{n}]", "give either sensitivity or roc"
        elif ai.sensitivity is not None:
            yield from _share(f"ais[{n}].sensitivity", ai.sensitivity)
            if ai.sensitivity < 1 - ai.specificity:
                yield f"ais[{n}].sensitivity", "below the share of false flags: worse than chance"
        elif fault := _faulty_roc(ai.roc):
            yield f"ais[{n}].roc", fault


def _faulty_roc(points: list[tuple[float, float]]) -> str | None:
    whole = [(0.0, 0.0), *points, (1.0, 1.0)]
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(whole)]
    if any(x <= 0 or y < 0 for x, y in steps):
        return "points (false positive, true positive fraction) rise, strictly between 0 and 1"
    slopes = [y / x for x, y in steps]
    return None if all(a >= b - 1e-9 for a, b in pairwise(slopes)) else "slopes must fall: give the convex hull"


def _faulty_context(scenario: Scenario) -> Iterator[Fault]:
    known = {NO_DISEASE, *scenario.diseases}
    if scenario.orders and abs((total := sum(order.share for order in scenario.orders)) - 1) > 1e-6:
        yield "orders", f"shares add up to {total:g}, not 1"
    for disease in scenario.diseases:
        if scenario.orders and abs((total := sum(order.given.get(disease, order.share) for order in scenario.orders)) - 1) > 1e-6:
            yield "orders", f"shares given {disease} add up to {total:g}, not 1"
    shares = [(f"orders[{n}].given", order.given) for n, order in enumerate(scenario.orders)]
    shares += [(f"signs[{n}].given", sign.given) for n, sign in enumerate(scenario.signs)]
    for field, given in shares:
        if unknown := set(given) - known:
            yield field, f"there is no disease {min(unknown)!r}"
        for name, value in given.items():
            yield from _share(f"{field}.{name}", value)
    for n, sign in enumerate(scenario.signs):
        if unknown := set(sign.groups) - {group.name for group in scenario.groups}:
            yield f"signs[{n}].groups", f"there is no group {min(unknown)!r}"
        if unknown := set(sign.news2) - set(Observed.__slots__):
            yield f"signs[{n}].news2", f"there is no parameter {min(unknown)!r}; known: {', '.join(Observed.__slots__)}"


def _faulty_rules(scenario: Scenario) -> Iterator[Fault]:
    if repeated := _repeated([rule.name for rule in scenario.policies]):
        yield "policies", f"{repeated} is there twice"
    names = {OTHERS, *(ai.name for ai in scenario.ais)}
    for n, rule in enumerate(scenario.policies):
        for field, given in (("weights", rule.weights), ("minutes", rule.minutes)):
            if unknown := set(given) - names:
                yield f"policies[{n}].{field}", f"there is no AI {min(unknown)!r}"
            if any(not value > 0 for value in given.values()):
                yield f"policies[{n}].{field}", "above 0"
        if rule.kind == "readfirst" and rule.minutes:
            yield f"policies[{n}].minutes", "Readfirst's minutes come from the site's rules"
        needed = {"accumulating": ("weights", rule.weights), "edf": ("minutes", rule.minutes)}.get(rule.kind)
        if needed and (missing := names - set(needed[1])):
            yield f"policies[{n}].{needed[0]}", f"{min(missing)} is missing"
        if rule.max_wait is not None and (rule.kind != "hierarchy" or not rule.max_wait > 0):
            yield f"policies[{n}].max_wait", "minutes above 0, of a hierarchy"
        if scenario.preemption == "all" and (rule.max_wait is not None or rule.kind == "accumulating"):
            yield (
                f"policies[{n}]",
                'an order that changes while studies wait cannot interrupt a study: preemption = "none" or "interrupting"',
            )


def _overload(scenario: Scenario) -> Iterator[Fault]:
    """Every set of groups must leave its readers some time: Hall's condition."""
    rate = scenario.per_minute()
    for size in range(1, min(len(scenario.groups), 10) + 1):
        for some in combinations(scenario.groups, size):
            names = frozenset(group.name for group in some)
            load = rate * sum(group.share * mean_minutes(group) for group in some) / scenario.capacity(names)
            if load >= 1:
                yield "arrivals", f"the readers of {', '.join(sorted(names))} cannot keep up: {load:.2f} of their time is needed"


def _share(field: str, value: float) -> Iterator[Fault]:
    if not 0 <= value <= 1:
        yield field, f"from 0 to 1, not {value:g}"


def _repeated(names: list[str]) -> str | None:
    return next((name for n, name in enumerate(names) if name in names[:n]), None)
