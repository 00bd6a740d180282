"""Who is read next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.simulation.department.running import run
from pipeline.simulation.department.scenario import Rule
from pipeline.simulation.department.streams import draw
from tests.unit.simulation.departments import department

FLAGGED, OTHER = 0, 1


def begun(arrivals, flagged, rule, scenario=None, interrupting=None, **studies):
    """The order in which studies of ten minutes each are begun."""
    scenario = scenario or department()
    count = len(arrivals)
    made = replace(
        draw(scenario, count, 1),
        arrival=np.array(arrivals, float),
        flagged=np.array(flagged),
        minutes=np.full(count, 10.0),
        minutes_with_ai=np.full(count, 10.0),
        interrupting=np.array(interrupting or [False] * count),
        **{name: np.array(values) for name, values in studies.items()},
    )
    return np.argsort(run(scenario, made, rule).begun, kind="stable").tolist()


def test_fifo_and_flags():
    """A flag overtakes what waits, not what is on the table; equals stay in order of arrival."""
    assert begun([0, 1, 2, 3], [OTHER, OTHER, FLAGGED, FLAGGED], Rule(name="f", kind="fifo")) == [0, 1, 2, 3]
    assert begun([0, 1, 2, 3], [OTHER, OTHER, FLAGGED, FLAGGED], Rule(name="f", kind="flag")) == [0, 2, 3, 1]


def test_order_priority():
    """Stat first; an order without priority is held to the site's `unordered`, which is urgent."""
    orders = [
        {"name": "r", "share": 0.5, "priority": "routine"},
        {"name": "n", "share": 0.3},
        {"name": "s", "share": 0.2, "priority": "stat"},
    ]
    rule = Rule(name="o", kind="order")

    assert begun([0, 1, 2, 3], [OTHER] * 4, rule, department(orders=orders), order=[0, 0, 1, 2]) == [0, 3, 2, 1]


def test_after_the_maximum_wait_a_study_goes_to_the_top():
    """At 10 the flagged goes first; at 20 the other has waited 19 of 15 minutes and goes before the next flagged."""
    rule = Rule(name="h", kind="hierarchy", max_wait=15)

    assert begun([0, 1, 2, 3], [OTHER, OTHER, FLAGGED, FLAGGED], rule) == [0, 2, 1, 3]
    assert begun([0, 1, 2, 3], [OTHER, OTHER, FLAGGED, FLAGGED], Rule(name="h", kind="hierarchy", max_wait=60)) == [0, 2, 3, 1]


def test_accumulating_priority():
    """Each waited minute counts twice for the flagged: at 10 the other has 9 against 2 x 4, at 20 nobody else waits."""
    rule = Rule(name="a", kind="accumulating", weights={"AI": 2, "other": 1})

    assert begun([0, 1, 6], [OTHER, OTHER, FLAGGED], rule) == [0, 1, 2]
    assert begun([0, 1, 5], [OTHER, OTHER, FLAGGED], rule) == [0, 2, 1]


def test_earliest_deadline():
    """A flag due at 12 + 20 overtakes what is due at 1 + 60, not what is due at 0.5 + 30."""
    rule = Rule(name="e", kind="edf", minutes={"AI": 20, "other": 60})

    assert begun([0, 1, 9], [OTHER, OTHER, FLAGGED], rule) == [0, 2, 1]
    assert begun([0, 1, 9, 9.5], [OTHER, OTHER, OTHER, FLAGGED], rule) == [0, 3, 1, 2]


def test_what_interrupts_stands_before_all():
    """Under every policy, and before every flag."""
    for rule in (Rule(name="f", kind="fifo"), Rule(name="h", kind="hierarchy", max_wait=5), Rule(name="r", kind="readfirst")):
        order = begun([0, 1, 2, 3], [OTHER, FLAGGED, OTHER, OTHER], rule, interrupting=[False, False, False, True])
        assert order[1] == 3
