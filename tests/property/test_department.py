"""What a reading room may never do, whatever comes and whoever reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.department import floor, starvation
from pipeline.simulation.department.closed_forms import Stream, fifo, non_preemptive, preemptive_resume
from pipeline.simulation.department.loading import parse
from pipeline.simulation.department.policies import Fixed, order
from pipeline.simulation.department.running import run
from pipeline.simulation.department.scenario import Rule, Scenario
from pipeline.simulation.department.streams import Studies, draw

FIXED = [
    Rule(name="fifo", kind="fifo"),
    Rule(name="flag", kind="flag"),
    Rule(name="hierarchy", kind="hierarchy"),
    Rule(name="edf", kind="edf", minutes={"A": 20, "B": 45, "other": 240}),
    Rule(name="ours", kind="readfirst"),
]
CHANGING = [
    Rule(name="capped", kind="hierarchy", max_wait=30),
    Rule(name="accumulating", kind="accumulating", weights={"A": 8, "B": 6, "other": 1}),
]


def room(readers: list[dict[str, object]], preemption: str, traffic: float) -> Scenario:
    """Two groups with an AI each, a third that interrupts."""
    return parse(
        {
            "name": "room",
            "title": "room",
            "preemption": preemption,
            "arrivals": {"traffic": traffic},
            "readers": readers,
            "groups": [
                {"name": "CT", "share": 0.6, "reading": {"mean": 10}, "diseases": [{"name": "a", "prevalence": 0.2}]},
                {"name": "MR", "share": 0.3, "reading": {"mean": 20}, "diseases": [{"name": "b", "prevalence": 0.3}]},
                {"name": "call", "share": 0.1, "reading": {"mean": 5}, "interrupting": True},
            ],
            "ais": [
                {"name": "A", "group": "CT", "finds": "a", "sensitivity": 0.9, "specificity": 0.8},
                {"name": "B", "group": "MR", "finds": "b", "sensitivity": 0.8, "specificity": 0.9},
            ],
            "policies": [{"name": "fifo", "kind": "fifo"}],
        }
    )


seeds = st.integers(0, 10_000)
alike = st.builds(lambda count: [{"count": count}], st.integers(1, 3))
skilled = st.sampled_from(
    [
        [{}, {"groups": ["CT"]}],
        [{"groups": ["CT", "call"]}, {"groups": ["MR", "call"]}, {}],
        [{}, {"hours": [8, 16]}],
        [{"hours": [20, 8]}, {"hours": [8, 20]}],
        [{"groups": ["CT", "MR"], "hours": [7.5, 19]}, {}],
    ]
)
preemptions = st.sampled_from(["none", "interrupting", "all"])


def drawn(scenario: Scenario, seed: int, count: int = 150) -> Studies:
    return draw(scenario, count, seed)


@given(alike, preemptions, st.floats(0.3, 0.95), seeds, st.sampled_from(FIXED))
def test_two_engines_agree(readers, preemption, traffic, seed, rule):
    """The fast loops, and the reading room that knows skills and shifts, end every study at the same minute."""
    scenario = room(readers, preemption, traffic)
    studies = drawn(scenario, seed)
    fast = run(scenario, studies, rule)
    begun, finished = floor.finish(scenario, studies, fast.minutes, order(scenario, studies, rule))

    assert np.allclose(fast.finished, finished)
    assert fast.begun is None or np.allclose(fast.begun, begun)


@given(alike, st.floats(0.3, 0.95), seeds, st.sampled_from(CHANGING))
def test_two_engines_agree_where_the_order_changes(readers, traffic, seed, rule):
    """Likewise for policies whose order depends on the time."""
    scenario = room(readers, "none", traffic)
    studies = drawn(scenario, seed)
    fast = run(scenario, studies, rule)

    assert np.allclose(fast.begun, floor.finish(scenario, studies, fast.minutes, order(scenario, studies, rule))[0])


@given(alike | skilled, preemptions, st.floats(0.3, 0.8), seeds, st.sampled_from(FIXED))
def test_every_study_is_read_once_and_whole(readers, preemption, traffic, seed, rule):
    """None is begun before it came, none ends sooner than it takes, and no more are read at once than there are readers."""
    scenario = room(readers, preemption, traffic)
    studies = drawn(scenario, seed)
    minutes = run(scenario, studies, rule).minutes
    begun, finished = floor.finish(scenario, studies, minutes, order(scenario, studies, rule))

    assert (begun >= studies.arrival - 1e-6).all()
    assert (finished - begun >= minutes - 1e-6).all()
    if preemption == "none":
        assert np.allclose(finished - begun, minutes)
        at_once = [((begun <= at + 1e-6) & (finished > at + 1e-6)).sum() for at in begun]
        assert max(at_once) <= sum(one.count for one in scenario.readers)


@given(skilled, st.floats(0.3, 0.8), seeds)
def test_nobody_begins_off_duty_or_without_the_skill(readers, traffic, seed):
    """At each begin, somebody who reads that group was on duty."""
    scenario = room(readers, "none", traffic)
    studies = drawn(scenario, seed)
    begun = run(scenario, studies, FIXED[0]).begun

    for at, group in zip(begun, studies.group, strict=True):
        hour = at % 1440 / 60
        assert any(scenario.groups[group].name in scenario.reads(one) and _on_duty(one.hours, hour) for one in scenario.readers)


def _on_duty(hours, hour):
    return hours is None or (hours[0] <= hour < hours[1] if hours[0] < hours[1] else hour >= hours[0] or hour < hours[1])


# --- starvation --------------------------------------------------------------------------------------------------------------------


@given(alike | skilled, preemptions, st.floats(0.3, 0.95), seeds, st.data())
def test_overtaken_only_by_studies_due_earlier(readers, preemption, traffic, seed, data):
    """The theorem, by brute force, for any budgets: while a study waits, no study of its readers that is due later is begun.

    And its corollary: nothing that arrives more than the difference to the shortest budget later overtakes it.
    """
    scenario = room(readers, preemption, min(traffic, 0.8) if len(readers) > 1 else traffic)
    studies = drawn(scenario, seed, 60)
    studies = replace(studies, interrupting=np.zeros(60, bool))
    budgets = np.array(data.draw(st.lists(st.floats(5, 600), min_size=60, max_size=60)))
    due = studies.arrival + budgets
    place = np.argsort(np.lexsort((np.arange(60), due)))
    begun, _ = floor.finish(scenario, studies, studies.minutes, Fixed(place, due))
    readers_of = [frozenset(n for n, one in enumerate(scenario.readers) if group.name in scenario.reads(one)) for group in scenario.groups]

    for mine in range(60):
        for other in range(60):
            waited = studies.arrival[mine] < begun[other] < begun[mine] - 1e-9
            if waited and readers_of[studies.group[mine]] == readers_of[studies.group[other]]:
                assert due[other] <= due[mine]
                assert studies.arrival[other] - studies.arrival[mine] <= budgets[mine] - budgets.min() + 1e-9
    bound = starvation.bound(scenario, studies, begun, due)
    assert bound.broken == 0
    assert bound.latest <= bound.window + 1e-9


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 100)), min_size=1, max_size=25))
def test_the_check_counts_what_brute_force_counts(rows):
    """The sparse table finds exactly the studies that were kept waiting by one due later."""
    arrival = np.array([row[0] for row in rows])
    begun = arrival + np.array([row[1] for row in rows])
    due = np.array([row[2] for row in rows])
    expected = sum(
        any(arrival[mine] < begun[other] < begun[mine] and due[other] > due[mine] + 1e-9 for other in range(len(rows)))
        for mine in range(len(rows))
    )

    assert starvation.broken(arrival, begun, due) == expected


# --- conservation ------------------------------------------------------------------------------------------------------------------


@given(st.floats(0.3, 0.95), seeds, st.sampled_from(FIXED[1:] + CHANGING))
def test_work_is_conserved(traffic, seed, rule):
    """One reader who finishes what he begins: whatever the order, minutes waited times minutes read add up to the same (Kleinrock)."""
    scenario = room([{}], "none", traffic)
    studies = drawn(scenario, seed)
    weighted = [(one.wait(studies) * one.minutes).sum() for one in (run(scenario, studies, FIXED[0]), run(scenario, studies, rule))]

    assert np.isclose(*weighted)


loads = st.lists(st.tuples(st.floats(0.01, 0.3), st.floats(1, 60)), min_size=2, max_size=3)


@given(loads)
def test_formulas_keep_the_order_of_priorities(parts):
    """A higher priority never waits longer, unfinished reading apart, and interruption never makes the highest wait longer."""
    streams = [Stream(load / mean, mean) for load, mean in parts]
    waits = non_preemptive(streams)

    assert waits == sorted(waits)
    assert waits[0] <= fifo(streams) + 1e-9
    assert preemptive_resume(streams)[0] <= waits[0] + 1e-9
