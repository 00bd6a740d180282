"""The circuit breaker spares a dead scorer, and tries it again."""

from __future__ import annotations

from datetime import timedelta

from pipeline.adapters.memory.clock import ManualClock
from pipeline.services.breaker import CircuitBreaker


def opened(clock: ManualClock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock, failures=3, pause=timedelta(seconds=5))
    for _ in range(3):
        breaker.failed()
    return breaker


def test_opens_after_three_failures_in_a_row() -> None:
    """A success in between starts the count anew."""
    breaker = CircuitBreaker(ManualClock())
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.allows()

    breaker.failed()
    assert not breaker.allows()


def test_one_probe_after_the_pause() -> None:
    """Half open lets one question through; until it is answered no other."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(timedelta(seconds=4.9))
    assert not breaker.allows()
    clock.advance(timedelta(seconds=0.1))

    assert [breaker.allows(), breaker.allows()] == [True, False]


def test_the_probe_decides() -> None:
    """A failed probe opens for another pause at once; a good one closes."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(timedelta(seconds=5))
    assert breaker.allows()
    breaker.failed()
    assert breaker.is_open

    clock.advance(timedelta(seconds=5))
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows(), breaker.allows()] == [True, True]


def test_a_clock_set_back_does_not_keep_it_open() -> None:
    """After a jump of the clock it asks again, rather than waiting for the old time to come round."""
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(timedelta(hours=-1))

    assert breaker.allows()


def test_a_trip_is_told_while_somebody_asks() -> None:
    """Between the probes too; a stage that has had nothing to ask for a minute is not said to be in trouble, and still probes first."""
    clock = ManualClock()
    breaker = opened(clock)
    for _ in range(20):
        clock.advance(timedelta(seconds=50))
        assert breaker.tripped
        assert breaker.allows()
        breaker.failed()
    clock.advance(timedelta(seconds=60))

    assert not breaker.tripped
    assert [breaker.allows(), breaker.allows()] == [True, False]
    assert breaker.tripped
