"""The window is a function of the set of events."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipeline.domain.packing import pack, unpack
from pipeline.domain.window import STUDIES_KEEP, Window, derive
from schemas.events import AnyEvent
from tests.property.histories import events, imaging_events, observation_events

relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def content(window: Window) -> dict[str, Any]:
    """All that a window shows."""
    return {
        "as_of": window.as_of,
        "readings": window.readings,
        "flags": window.flags,
        "studies": window.studies,
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
