"""The studies of a scenario, drawn once and shown to every policy: paired random streams.

Arrivals, kinds, diseases, AI answers, orders, signs and reading times each have a generator of their own, so that a change of one part
of a scenario leaves the draws of the others as they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation.department.scenario import NO_DISEASE, Ai, Arrivals, Group, Reading, Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
INTERRUPTING = "interrupting"
_DAY = 1440.0


@dataclass(frozen=True, slots=True)
class Studies:
    """One element a study, in order of arrival; all times in minutes.

    disease: 0 for none, else one more than its place in `scenario.diseases`. flags: study x AI. risk: the highest calibrated probability
    that an AI gives (not a number where none looks). flagged: the place of the first AI, in the hierarchy, that flags; their number where
    none does. minutes and minutes_with_ai: what reading takes.
    """

    arrival: Floats
    group: Ints
    disease: Ints
    flags: Bools
    found: Bools
    risk: Floats
    flagged: Ints
    order: Ints
    signs: Bools
    interrupting: Bools
    minutes: Floats
    minutes_with_ai: Floats

    def __len__(self) -> int:
        return len(self.arrival)


def draw(scenario: Scenario, count: int, seed: int) -> Studies:
    """The same seed gives the same studies."""
    dice = [np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(7)]
    group = _choice(dice[1], [one.share for one in scenario.groups], count)
    disease = _diseases(scenario, group, dice[2])
    flags, risk = _answers(scenario, group, disease, dice[3])
    minutes, with_ai = _reading_minutes(scenario, group, disease, flags, dice[6])
    return Studies(
        arrival=_arrivals(scenario.arrivals, scenario.per_minute(), count, dice[0]),
        group=group,
        disease=disease,
        flags=flags,
        found=_found(scenario, disease, flags),
        risk=risk,
        flagged=np.where(flags.any(1), flags.argmax(1), len(scenario.ais)) if scenario.ais else np.zeros(count, np.int64),
        order=_orders(scenario, disease, dice[4]),
        signs=_signs(scenario, group, disease, dice[5]),
        interrupting=np.array([one.interrupting for one in scenario.groups])[group],
        minutes=minutes,
        minutes_with_ai=with_ai,
    )


def _choice(dice: np.random.Generator, shares: list[float], count: int) -> Ints:
    return np.minimum(np.searchsorted(np.cumsum(shares), dice.random(count), side="right"), len(shares) - 1)


def _arrivals(arrivals: Arrivals, rate: float, count: int, dice: np.random.Generator) -> Floats:
    """Poisson; where the hours differ, by running a clock that goes as fast as studies come (time change)."""
    expected = np.cumsum(dice.exponential(1.0, count))
    if not arrivals.by_hour:
        return expected / rate
    a_day = rate * _DAY
    by_hour = np.concatenate([[0.0], np.cumsum(arrivals.by_hour)]) / sum(arrivals.by_hour) * a_day
    days, rest = np.divmod(expected, a_day)
    return np.asarray(days * _DAY + np.interp(rest, by_hour, np.arange(25) * 60.0))


def _diseases(scenario: Scenario, group: Ints, dice: np.random.Generator) -> Ints:
    uniform, disease = dice.random(len(group)), np.zeros(len(group), np.int64)
    for n, one in enumerate(scenario.groups):
        below = 0.0
        for each in one.diseases:
            hit = (group == n) & (uniform >= below) & (uniform < below + each.prevalence)
            disease[hit] = 1 + scenario.diseases.index(each.name)
            below += each.prevalence
    return disease


# --- what the AIs say --------------------------------------------------------------------------------------------------------------


def _answers(scenario: Scenario, group: Ints, disease: Ints, dice: np.random.Generator) -> tuple[Bools, Floats]:
    flags = np.zeros((len(group), len(scenario.ais)), np.bool_)
    risk = np.full(len(group), np.nan)
    for n, ai in enumerate(scenario.ais):
        looks = group == _place(scenario, ai)
        sick = disease == 1 + scenario.diseases.index(ai.finds)
        prevalence = _prevalence(scenario.groups[_place(scenario, ai)], ai.finds)
        said, probability = (_from_roc if ai.roc else _from_point)(ai, sick, prevalence, dice.random(len(group)))
        flags[:, n] = looks & said
        risk = np.fmax(risk, np.where(looks, probability, np.nan))
    return flags, risk


def _place(scenario: Scenario, ai: Ai) -> int:
    return [group.name for group in scenario.groups].index(ai.group)


def _prevalence(group: Group, disease: str) -> float:
    return sum(one.prevalence for one in group.diseases if one.name == disease)


def _from_point(ai: Ai, sick: Bools, prevalence: float, uniform: Floats) -> tuple[Bools, Floats]:
    """Yes or no; the calibrated probability is then the predictive value."""
    assert ai.sensitivity is not None
    said = uniform < np.where(sick, ai.sensitivity, 1 - ai.specificity)
    yes = _posterior(prevalence, ai.sensitivity, 1 - ai.specificity)
    no = _posterior(prevalence, 1 - ai.sensitivity, ai.specificity)
    return said, np.where(said, yes, no)


def _from_roc(ai: Ai, sick: Bools, prevalence: float, uniform: Floats) -> tuple[Bools, Floats]:
    """A score, here the false positive fraction at which the study would just be flagged: uniform without the disease, and with it as
    the curve says. The slope of the curve is the likelihood ratio of that score."""
    points = np.array([(0.0, 0.0), *ai.roc, (1.0, 1.0)])
    level = np.where(sick, np.interp(uniform, points[:, 1], points[:, 0]), uniform)
    chances = np.array([_posterior(prevalence, b[1] - a[1], b[0] - a[0]) for a, b in pairwise(points)])
    segment = np.clip(np.searchsorted(points[:, 0], level, side="left") - 1, 0, len(chances) - 1)
    return level <= 1 - ai.specificity, chances[segment]


def _posterior(prevalence: float, with_disease: float, without: float) -> float:
    """Bayes: the probability of the disease after an answer of these likelihoods."""
    total = prevalence * with_disease + (1 - prevalence) * without
    return prevalence * with_disease / total if total else prevalence


def _found(scenario: Scenario, disease: Ints, flags: Bools) -> Bools:
    """Whether an AI flags the disease that the study has."""
    found = np.zeros(len(disease), np.bool_)
    for n, ai in enumerate(scenario.ais):
        found |= flags[:, n] & (disease == 1 + scenario.diseases.index(ai.finds))
    return found


# --- orders, context, reading ------------------------------------------------------------------------------------------------------


def _orders(scenario: Scenario, disease: Ints, dice: np.random.Generator) -> Ints:
    order = np.zeros(len(disease), np.int64)
    if not scenario.orders:
        return order
    uniform = dice.random(len(disease))
    for n, name in enumerate([NO_DISEASE, *scenario.diseases]):
        shares = np.cumsum([one.given.get(name, one.share) for one in scenario.orders])
        drawn = np.minimum(np.searchsorted(shares, uniform, side="right"), len(scenario.orders) - 1)
        order = np.where(disease == n, drawn, order)
    return order


def _signs(scenario: Scenario, group: Ints, disease: Ints, dice: np.random.Generator) -> Bools:
    names = [NO_DISEASE, *scenario.diseases]
    seen = np.zeros((len(disease), len(scenario.signs)), np.bool_)
    for n, sign in enumerate(scenario.signs):
        where = np.array([not sign.groups or one.name in sign.groups for one in scenario.groups])
        chance = np.array([sign.given.get(name, 0.0) for name in names])
        seen[:, n] = where[group] & (dice.random(len(disease)) < chance[disease])
    return seen


def _reading_minutes(scenario: Scenario, group: Ints, disease: Ints, flags: Bools, dice: np.random.Generator) -> tuple[Floats, Floats]:
    unit, mean = np.empty(len(group)), np.empty(len(group))
    for n, one in enumerate(scenario.groups):
        mine = group == n
        unit[mine] = _unit(one.reading, int(mine.sum()), dice)
        mean[mine] = one.reading.mean
        for each in one.diseases:
            if each.minutes is not None:
                mean[mine & (disease == 1 + scenario.diseases.index(each.name))] = each.minutes
    longer = np.zeros(len(group))
    for n, ai in enumerate(scenario.ais):
        looks, sick = group == _place(scenario, ai), disease == 1 + scenario.diseases.index(ai.finds)
        flagged = np.where(sick, ai.true_flag_minutes, ai.false_flag_minutes)
        longer += np.where(looks, np.where(flags[:, n], flagged, np.where(sick, ai.missed_minutes, ai.clear_minutes)), 0.0)
    return unit * mean, unit * np.maximum(mean + longer, 0.0)


def _unit(reading: Reading, count: int, dice: np.random.Generator) -> Floats:
    """Times of mean one."""
    if reading.distribution == "fixed":
        return np.ones(count)
    if reading.distribution == "exponential":
        return dice.exponential(1.0, count)
    if reading.distribution == "gamma":
        shape = reading.variation**-2
        return dice.gamma(shape, 1 / shape, count)
    spread = math.sqrt(math.log1p(reading.variation**2))
    return dice.lognormal(-(spread**2) / 2, spread, count)
