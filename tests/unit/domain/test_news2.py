"""NEWS2: the chart's numbers, and what happens when some are unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.domain.news2 import PARAMETERS, Observed, assess, score
from pipeline.domain.readings import Reading

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def observed(rr=16, spo2=98, o2=False, sbp=120, hr=70, mind="A", temp=37.0):
    return Observed(rr, spo2, o2, sbp, hr, mind != "A", temp)


@pytest.mark.parametrize(
    ("row", "scale", "total", "band"),
    [
        ((16, 98, False, 120, 70, "A", 37.0), 1, 0, "low"),
        ((25, 96, False, 120, 80, "A", 37.0), 1, 3, "low-medium"),
        ((22, 94, True, 105, 112, "A", 38.5), 1, 9, "high"),
        ((18, 90, True, 130, 88, "A", 36.8), 2, 2, "low"),
        ((18, 90, True, 130, 88, "A", 36.8), 1, 5, "medium"),
        ((18, 97, True, 130, 88, "A", 36.8), 2, 5, "medium"),
        ((18, 97, False, 130, 88, "A", 36.8), 2, 0, "low"),
        ((8, 83, True, 90, 131, "C", 35.0), 2, 20, "high"),
        ((21, 95, False, 110, 91, "A", 38.1), 1, 6, "medium"),
        ((24, 92, True, 100, 130, "V", 39.1), 1, 15, "high"),
        ((12, 96, False, 219, 51, "A", 36.1), 1, 0, "low"),
        ((16, 98, False, 220, 70, "A", 37.0), 1, 3, "low-medium"),
    ],
)
def test_vectors(row, scale, total, band):
    """The reference vectors come out exactly."""
    result = score(observed(*row), scale)

    assert (total, band, ()) == (result.total, result.band, result.missing)


@pytest.mark.parametrize(
    ("field", "edges"),
    [
        ("rr", {8: 3, 9: 1, 11: 1, 12: 0, 20: 0, 21: 2, 24: 2, 25: 3}),
        ("spo2", {91: 3, 92: 2, 93: 2, 94: 1, 95: 1, 96: 0}),
        ("sbp", {90: 3, 91: 2, 100: 2, 101: 1, 110: 1, 111: 0, 219: 0, 220: 3}),
        ("hr", {40: 3, 41: 1, 50: 1, 51: 0, 90: 0, 91: 1, 110: 1, 111: 2, 130: 2, 131: 3}),
        ("temp", {35.0: 3, 35.1: 1, 36.0: 1, 36.1: 0, 38.0: 0, 38.1: 1, 39.0: 1, 39.1: 2, 36.04: 1, 36.05: 0}),
    ],
)
def test_edges(field, edges):
    """Each column of the chart begins and ends where it says."""
    assert edges == {value: score(observed(**{field: value})).total for value in edges}


@pytest.mark.parametrize(
    ("spo2", "oxygen", "points"),
    [
        (83, False, 3),
        (84, False, 2),
        (86, True, 1),
        (88, True, 0),
        (92, True, 0),
        (93, True, 1),
        (95, True, 2),
        (97, True, 3),
        (99, False, 0),
    ],
)
def test_scale_2(spo2, oxygen, points):
    """On scale 2 a high saturation is safe on air and dangerous on oxygen."""
    assert points == score(observed(spo2=spo2, o2=oxygen), 2).points["spo2"]


def test_scale_2_without_word_on_oxygen():
    """On scale 2 a saturation of 97 % says nothing while it is unknown whether the patient breathes oxygen."""
    assert score(observed(spo2=97, o2=None), 2).missing == ("spo2", "oxygen")


def test_unknown_is_not_normal():
    """A missing parameter is named as missing; it adds no points and is not counted as known."""
    result = score(Observed(respiration=26))

    assert (result.points, result.total) == ({"respiration": 3}, 3)
    assert set(PARAMETERS) - {"respiration"} == set(result.missing)


def test_minutes_follow_the_response_table():
    """5 asks for a look within the hour, 7 within half an hour, nothing asks for none; a single 3 asks sooner than its total would."""
    assert score(observed()).minutes is None
    assert pytest.approx(score(observed(21, 95, hr=111)).minutes) == 60
    assert pytest.approx(score(observed(24, 92, hr=91, o2=True)).minutes) == 30
    assert score(observed(rr=25)).minutes == 120


def readings(**values):
    return {name: [Reading(NOON - age, value, event_id=f"{name}-1")] for name, (value, age) in values.items()}


def test_from_the_window():
    """The newest values make the score, oxygen comes from FiO2 or flow, the mind from ACVPU or GCS."""
    values = {"respiratory_rate": 22, "spo2": 94, "fio2": 40, "systolic_bp": 105, "heart_rate": 112, "gcs": 15, "temperature": 38.5}
    window = readings(**{name: (value, HOUR) for name, value in values.items()})
    result = assess(window, NOON, 70, timedelta(hours=6))

    assert (result.score.total, result.fresh, result.stale) == (9, 7, False)


def test_stale_then_unknown():
    """A value past its validity still pulls, marked as stale; past twice its validity it is unknown."""
    window = readings(respiratory_rate=(26, 7 * HOUR), heart_rate=(140, 13 * HOUR), temperature=(37, HOUR))
    result = assess(window, NOON, None, timedelta(hours=6))

    assert (result.score.points, result.fresh, result.stale) == ({"respiration": 3, "temperature": 0}, 1, True)


def test_newer_source_of_oxygen_and_mind_wins():
    """A flow of 0 after an FiO2 of 40 % is air; of GCS and ACVPU the newer one speaks."""
    window = readings(fio2=(40, 2 * HOUR), oxygen_flow=(0, HOUR), gcs=(9, HOUR), acvpu=(0, 2 * HOUR))
    result = assess(window, NOON, 40, timedelta(hours=6))

    assert result.score.points == {"oxygen": 0, "consciousness": 3}


def test_not_for_children():
    """Under 16 years there is no NEWS2."""
    assert assess(readings(heart_rate=(140, HOUR)), NOON, 15.9, timedelta(hours=6)) is None
    assert assess(readings(heart_rate=(140, HOUR)), NOON, 16.0, timedelta(hours=6)) is not None


def test_nothing_known():
    """Without any value there is no score, not a score of 0."""
    assert assess({}, NOON, 50, timedelta(hours=6)) is None
