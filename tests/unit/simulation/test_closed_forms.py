"""Mean waits by formula, against published figures."""

from __future__ import annotations

import pytest

from pipeline.simulation.department.closed_forms import (
    Stream,
    below_interruptions,
    erlang_c,
    fifo,
    fifo_many,
    mixture,
    non_preemptive,
    preemptive_resume,
)

TOTAL = Stream(0.8 / 30, 30)
LVO_FLAG, ICH_FLAG = 0.3 * (0.125 * 0.9236 + 0.875 * 0.0857), 0.7 * (0.211 * 0.9361 + 0.789 * 0.0656)


def g1(*shares):
    return [Stream(TOTAL.rate * share, 30) for share in shares]


def mixed(found, waits):
    return found * waits[0] + (1 - found) * waits[1]


def test_g1_of_one_reader():
    """Multi-QuCAD manual, listings 1 and 8: first come first served, flags first, and by hierarchy."""
    flags = preemptive_resume(g1(LVO_FLAG + ICH_FLAG, 1 - LVO_FLAG - ICH_FLAG))
    lvo, ich, none = preemptive_resume(g1(LVO_FLAG, ICH_FLAG, 1 - LVO_FLAG - ICH_FLAG))

    assert fifo([TOTAL]) == pytest.approx(120)
    assert [mixed(0.9236, flags), mixed(0.0656, flags), mixed(0.9361, flags)] == pytest.approx([18.08, 144.45, 16.24], rel=0.005)
    assert [mixed(0.9236, (lvo, none)), mixed(0.0656, (ich, none)), mixed(0.9361, (ich, none))] == pytest.approx(
        [13.10, 144.57, 17.89], rel=0.005
    )


def test_g1_where_a_begun_study_is_finished():
    """The same without interruption costs the flagged twenty minutes more."""
    flags = non_preemptive(g1(LVO_FLAG + ICH_FLAG, 1 - LVO_FLAG - ICH_FLAG))

    assert [mixed(0.9236, flags), mixed(0.0656, flags), mixed(0.9361, flags)] == pytest.approx([38.46, 139.56, 36.99], rel=0.001)


def test_g2_two_readers_with_interruptions():
    """QuCAD manual, listing 9, within 0.5 % of what its calculator gives.

    Its 22.1610 for the unflagged does not conserve the wait (0.18 * 0.3902 + 0.82 * 22.1610 = 18.2423, not 18.2863); ours does.
    """
    rate = 1 / 5.9375
    flagged = 0.9 * rate * 0.18
    with_ai = below_interruptions(2, [Stream(flagged, 10), Stream(0.9 * rate - flagged, 10)], Stream(0.1 * rate, 5))
    (without,) = below_interruptions(2, [Stream(0.9 * rate, 10)], Stream(0.1 * rate, 5))

    assert [without, with_ai[0]] == pytest.approx([18.2863, 0.3902], abs=1e-4)
    assert [mixed(0.9, with_ai), mixed(0.1, with_ai), with_ai[1]] == pytest.approx([2.5673, 19.9839, 22.1610], rel=0.005)
    assert mixed(0.18, with_ai) == pytest.approx(without)


def test_interruptions_of_one_reader_are_the_single_reader_formula():
    """The matrix method and Kleinrock's formula are two ways to one number."""
    low, high = Stream(0.05, 10), Stream(0.02, 5)

    assert below_interruptions(1, [low], high)[0] == pytest.approx(preemptive_resume([high, low])[1])


def test_interruptions_of_the_same_length_are_a_difference_of_two_queues():
    """With equal times the total is M/M/c, so three readers have a second, independent way to the same wait."""
    low, high = Stream(0.15, 10), Stream(0.1, 10)
    total = Stream(0.25, 10)
    number = total.rate * (fifo_many(3, total) + 10) - high.rate * (fifo_many(3, high) + 10)

    assert below_interruptions(3, [low], high)[0] == pytest.approx(number / low.rate - 10)


def test_one_reader_is_the_smallest_department():
    """M/M/c with c = 1 is M/M/1; Erlang's C is then the load."""
    assert fifo_many(1, TOTAL) == pytest.approx(fifo([TOTAL]))
    assert erlang_c(1, 0.8) == pytest.approx(0.8)


def test_reading_times_that_do_not_vary_halve_the_wait():
    """M/D/1 waits half of M/M/1 (Pollaczek and Khinchine)."""
    assert fifo([Stream(TOTAL.rate, 30, 900)]) == pytest.approx(60)


def test_work_is_conserved():
    """Whatever the order, the load-weighted wait of non-preemptive priorities is that of first come first served (Kleinrock II, 3.4)."""
    streams = [Stream(0.01, 12), Stream(0.02, 20), Stream(0.005, 60)]
    weighted = sum(one.load * wait for one, wait in zip(streams, non_preemptive(streams), strict=True))

    assert weighted / sum(one.load for one in streams) == pytest.approx(fifo(streams))
    assert fifo([mixture(streams)]) == pytest.approx(fifo(streams))


def test_what_a_rare_disease_costs():
    """Del Gaizo 2024's times of reading at a load of .80: longer reads of flagged studies raise it to .827 and all waits with it."""
    caught, missed, false, clear = (
        (0.027 * 0.756, 13 + 34 / 60),
        (0.027 * 0.244, 14 + 23 / 60),
        (0.973 * 0.079, 9 + 40 / 60),
        (0.973 * 0.921, 8 + 38 / 60),
    )
    before = [(0.027, 13.76), (0.973, 8 + 25 / 60)]
    rate = 0.8 / sum(share * mean for share, mean in before)
    streams = [mixture([Stream(rate * share, mean) for share, mean in kinds]) for kinds in ((caught, false), (missed, clear))]

    assert sum(one.load for one in streams) == pytest.approx(0.827, abs=0.003)
    assert fifo([Stream(rate * share, mean) for share, mean in before]) == pytest.approx(34.2, rel=0.02)
    assert mixed(0.756, non_preemptive(streams)) == pytest.approx(17.5, rel=0.05)


def test_a_department_that_cannot_keep_up_is_refused():
    """At a load of one or more there is no mean wait."""
    with pytest.raises(ValueError, match="cannot keep up"):
        fifo([Stream(0.05, 20)])
    with pytest.raises(ValueError, match="cannot keep up"):
        fifo_many(2, Stream(0.2, 10))
