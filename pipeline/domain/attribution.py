"""What each single reading did to a risk: the requests that leave one out, and what the answers to them say.

A reading is taken out of the window as it was when the risk was asked for, and the features are extracted again: an older value becomes the
newest, a trend changes or goes. The changes of an observable's readings need not add up to its contribution, nor all of them to the risk,
since what is left says part of what is gone. Where an observable has a single reading, the change is the contribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from pipeline.domain import features, model_inputs
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.history import BLOCK, Tallies, Tally
from pipeline.domain.model_answer import value_of
from pipeline.domain.readings import Reading, Readings
from schemas.assessments import AssessRequest, Risk


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what the window held when it was made."""

    request: AssessRequest
    readings: Readings
    tallies: Tallies


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One reading of an observable, or (reading None) together those of which only tallies are kept; and the request without it."""

    observable: str
    reading: Reading | None
    tallies: Sequence[Tally]
    request: AssessRequest


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much a reading moved the risk: the probability with everything minus the one without it; positive: it raises the risk.

    observable: its name in the catalogue; value, low, high: in the catalogue's unit. at, when, source: as of the reading.
    older: of how many readings, which are only tallied any more, this is told together; they lie between low and high, and from `since` on.
    """

    observable: str
    change: float
    value: float | None = None
    at: datetime | None = None
    when: str | None = None
    source: str = ""
    older: int = 0
    low: float | None = None
    high: float | None = None
    since: datetime | None = None


def may_answer(risk: Risk, request: AssessRequest) -> bool:
    """Whether the risk may be the answer to this request, by the values that it names."""
    return all(value_of(request, named.feature) == named.value for named in risk.contributions)


def moving(risk: Risk) -> list[str]:
    """The observables among what moved the risk, strongest first."""
    return [named.feature for named in risk.contributions if named.feature in BY_NAME]


def leave_one_out(asked: Asked, observables: Sequence[str]) -> list[LeftOut]:
    """Of these observables each reading that counted at the request's `as_of`, newest first, and behind them the older ones together."""
    return [one for name in observables for one in _of_observable(asked, name)]


def effects(whole: Risk, left_out: Sequence[LeftOut], answers: Sequence[Risk]) -> list[Effect]:
    """Strongest first. whole: the risk with everything; answers: one to each request. Those without a probability are passed over."""
    assert whole.probability is not None
    found = [
        _effect(one, round(whole.probability - answer.probability, 5))
        for one, answer in zip(left_out, answers, strict=True)
        if answer.probability is not None
    ]
    return sorted(found, key=lambda effect: -abs(effect.change))


def _of_observable(asked: Asked, name: str) -> Iterator[LeftOut]:
    as_of = asked.request.as_of
    counted = features.retained(asked.readings.get(name, ()), as_of - features.MAX_AGE, as_of)
    for place in reversed(range(len(counted))):
        fewer = {**asked.readings, name: [*counted[:place], *counted[place + 1 :]]}
        yield LeftOut(name, counted[place], (), _without(asked, fewer, asked.tallies))
    tallies = asked.tallies.get(name, ())
    if counted and tallies:
        yield LeftOut(name, None, tallies, _without(asked, asked.readings, {**asked.tallies, name: ()}))


def _without(asked: Asked, readings: Readings, tallies: Tallies) -> AssessRequest:
    whole = asked.request
    seen = features.extract(readings, whole.as_of, whole.features.age, whole.features.sex, tallies)
    return msgspec.structs.replace(whole, features=seen, values=model_inputs.newest(readings, whole.as_of))


def _effect(one: LeftOut, change: float) -> Effect:
    if one.reading is not None:
        told = one.reading
        return Effect(observable=one.observable, change=change, value=told.value, at=told.at, when=told.when, source=told.source)
    return Effect(
        observable=one.observable,
        change=change,
        older=sum(tally.count for tally in one.tallies),
        low=min(tally.low for tally in one.tallies),
        high=max(tally.high for tally in one.tallies),
        since=min(tally.middle for tally in one.tallies) - BLOCK / 2,
    )
