"""The window is a function of the set of events."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipeline.domain.packing import pack, unpack
from pipeline.domain.window import STUDIES_KEEP, Window, derive
from schemas.codes import Coding
from schemas.events import AnyEvent, Observation, ObservationEvent
from schemas.time import Timestamp
from tests.property.histories import CODES, START, events, imaging_events, observation_events

relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def content(window: Window) -> dict[str, Any]:
    """All that a window shows."""
    return {
        "as_of": window.as_of,
        "readings": window.readings,
        "tallies": window.tallies,
        "flags": window.flags,
        "studies": window.studies,
        "picture": window.picture,
        "encounter": window.encounter,
        "age": window.age,
        "sex": window.sex,
    }


def take(history: list[AnyEvent], order: list[AnyEvent]) -> tuple[Window, int]:
    """As the stage does it: one by one, deriving anew from all seen so far where the window says it must."""
    window, seen, rebuilt = derive(history), list(history), 0
    for item in order:
        seen.append(item)
        if not window.apply(item):
            window, rebuilt = derive(seen), rebuilt + 1
    return window, rebuilt


@relaxed
@given(st.data(), st.lists(events(), max_size=40))
def test_any_order_repetition_and_split_gives_the_same_window(data: st.DataObject, history: list[AnyEvent]) -> None:
    """Events shuffled, repeated and partly read back from history show the same as the history derived at once."""
    repeated = history + data.draw(st.lists(st.sampled_from(history), max_size=10) if history else st.just([]))
    order = data.draw(st.permutations(repeated))
    loaded = data.draw(st.integers(0, len(order)))

    window, rebuilt = take(order[:loaded], order[loaded:])

    event("rebuilt" if rebuilt else "incremental all the way")
    assert content(derive(history)) == content(window)


@relaxed
@given(st.data(), st.lists(observation_events(), min_size=15, max_size=60))
def test_any_order_of_many_observations_gives_the_same_window(data: st.DataObject, history: list[AnyEvent]) -> None:
    """With more observations than a window keeps, what was let go never comes back wrongly."""
    order = data.draw(st.permutations(history))

    window, rebuilt = take([], order)

    event("rebuilt" if rebuilt else "incremental all the way")
    assert content(derive(history)) == content(window)


@relaxed
@given(st.data(), st.lists(events(), max_size=30))
def test_a_window_goes_on_after_packing(data: st.DataObject, history: list[AnyEvent]) -> None:
    """Packed and unpacked anywhere on the way, nothing it shows is different."""
    cut = data.draw(st.integers(0, len(history)))
    packed = unpack(pack(derive(history[:cut])))

    assert content(packed) == content(derive(history[:cut]))
    seen = history[:cut]
    for item in history[cut:]:
        seen = [*seen, item]
        if not packed.apply(item):
            packed = derive(seen)
    assert content(packed) == content(derive(history))


@relaxed
@given(st.lists(imaging_events(studies=40), min_size=20, max_size=60))
def test_studies_are_bounded(history: list[AnyEvent]) -> None:
    """However many studies there are, a window shows so many at most."""
    window, _ = take([], history)

    assert len(window.studies) <= STUDIES_KEEP
    assert content(derive(history)) == content(window)


def drawn_history(rng: random.Random) -> list[AnyEvent]:
    """Longer than hypothesis likes to draw, and evenly spread: where rare meetings of eviction, correction and lateness happen."""
    messages: list[AnyEvent] = []
    for number in range(rng.randint(10, 60)):
        recorded_at = START + timedelta(hours=2 * rng.choice([rng.randint(0, 40)] * 9 + [rng.randint(0, 150)]))
        observed = [drawn_observation(rng) for _ in range(rng.randint(1, 4))]
        messages.append(
            ObservationEvent(event_id=f"{rng.random()}-{number}", patient="p", source="lab", recorded_at=recorded_at, observations=observed)
        )
    return messages


def drawn_observation(rng: random.Random) -> Observation:
    """As `histories.observations` has it: a key names one code."""
    number = rng.randrange(28)
    loinc, unit, value = CODES[number % 4]
    status = rng.choice(["final"] * 6 + ["preliminary", "corrected", "deleted"])
    moved = status == "corrected" and rng.random() < 0.5
    return Observation(
        key=f"k{number}",
        effective=Timestamp(START + timedelta(hours=2 * rng.randint(0, 40) if moved else 3 * number)),
        status=status,
        loinc=None if status in ("corrected", "deleted") and rng.random() < 0.5 else loinc,
        local=Coding(f"c{number % 4}") if rng.random() < 0.8 else None,
        value=rng.choice([value + rng.randint(0, 5)] * 8 + [None, 1e9]),
        unit=unit if rng.random() < 0.9 else "furlong",
        flag=rng.choice([None, None, "H", "HH"]),
    )


@pytest.mark.parametrize("seed", range(8))
def test_long_histories_in_any_order_give_the_same_window(seed: int) -> None:
    """A hundred of them for each seed."""
    rng = random.Random(seed)
    for _ in range(100):
        history = drawn_history(rng)
        window, _ = take([], rng.sample(history, len(history)))

        assert content(window) == content(derive(history))
