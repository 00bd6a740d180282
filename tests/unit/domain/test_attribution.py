"""What is left out, one reading at a time, and what the answers say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.domain import attribution, features, model_inputs
from pipeline.domain.attribution import Asked
from pipeline.domain.history import Tallies, Tally
from pipeline.domain.readings import Reading
from schemas.assessments import AssessRequest, Contribution, Risk

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)


def asked(tallies: Tallies = features.NOTHING, **values: list[tuple[float, float]]) -> Asked:
    """Of each observable (hours before AS_OF, value), oldest first."""
    readings = {name: [Reading(AS_OF - timedelta(hours=hours), value) for hours, value in told] for name, told in values.items()}
    request = AssessRequest(
        event_id="e", patient="p", context_version=1, as_of=AS_OF, recorded_at=AS_OF, urgency=2, studies=[], age=70.0, sex="F",
        features=features.extract(readings, AS_OF, 70.0, "F", tallies), values=model_inputs.newest(readings, AS_OF),
    )  # fmt: skip
    return Asked(request, readings, tallies)


def risk(probability: float | None, *contributions: Contribution) -> Risk:
    return Risk(scorer="onnxruntime", probability=probability, contributions=list(contributions))


def test_each_request_is_the_whole_without_one_reading() -> None:
    """As if it had never come: the one before is the newest, another observable's features stay as they are."""
    left = attribution.leave_one_out(asked(lactate=[(3, 1.0), (2, 4.0), (1, 9.0)], gcs=[(1, 13)]), ["lactate"])

    assert [(one.reading and one.reading.value, one.request.features.values["lactate.last"]) for one in left] == [
        (9.0, 4.0),
        (4.0, 9.0),
        (1.0, 9.0),
    ]
    assert left[0].request.features.values["lactate.age_h"] == 2.0
    assert [one.request.features for one in left] == [
        asked(lactate=told, gcs=[(1, 13)]).request.features for told in ([(3, 1.0), (2, 4.0)], [(3, 1.0), (1, 9.0)], [(2, 4.0), (1, 9.0)])
    ]


def test_the_only_reading_takes_the_observable_with_it() -> None:
    """Tallies too, as where the model leaves the whole group out."""
    before = {"lactate": [Tally(AS_OF - timedelta(hours=20), 10, 3.0, 2.0, 6.0)]}
    left = attribution.leave_one_out(asked(before, lactate=[(1, 9.0)]), ["lactate"])

    assert "lactate.last" not in left[0].request.features.values
    assert left[0].request.features == asked().request.features
    assert [one.reading is None for one in left] == [False, True]


def test_older_readings_are_left_out_together() -> None:
    """Their number, extremes and beginning are told; the retained values stay."""
    before = {"lactate": [Tally(AS_OF - timedelta(hours=30), 3, 3.0, 2.0, 6.0), Tally(AS_OF - timedelta(hours=18), 4, 3.0, 1.5, 5.0)]}
    whole = asked(before, lactate=[(2, 4.0), (1, 9.0)])
    left = attribution.leave_one_out(whole, ["lactate"])
    (older,) = attribution.effects(risk(0.5), left[2:], [risk(0.4)])

    assert left[2].request.features == asked(lactate=[(2, 4.0), (1, 9.0)]).request.features
    assert (older.older, older.low, older.high, older.since) == (7, 1.5, 6.0, AS_OF - timedelta(hours=36))
    assert older.change == 0.1


@pytest.mark.parametrize("hours", [-0.01, 24 * 7 + 0.01])
def test_a_reading_that_did_not_count_is_not_told(hours: float) -> None:
    """Later than the score's own time, or too old for a feature."""
    assert attribution.leave_one_out(asked(lactate=[(hours, 9.0)]), ["lactate", "gcs"]) == []


def test_no_more_than_counted() -> None:
    """Of readings beyond those that features read one by one."""
    left = attribution.leave_one_out(asked(lactate=[(hours, hours) for hours in range(9, 0, -1)]), ["lactate"])
    assert [one.reading and one.reading.value for one in left] == [1, 2, 3, 4]


def test_two_readings_alike_are_two() -> None:
    """Leaving one out leaves the other."""
    left = attribution.leave_one_out(asked(lactate=[(1, 9.0), (1, 9.0)]), ["lactate"])
    assert [one.request.features.values["lactate.last"] for one in left] == [9.0, 9.0]


def test_what_only_a_sites_version_reads_is_left_out_too() -> None:
    """Haemoglobin is no feature: of its readings the newest is asked about."""
    left = attribution.leave_one_out(asked(haemoglobin=[(2, 11.0), (1, 6.0)]), ["haemoglobin"])
    assert [one.request.values for one in left] == [{"haemoglobin": 11.0}, {"haemoglobin": 6.0}]


def test_the_strongest_comes_first() -> None:
    """Either way; an answer that is no number is passed over."""
    left = attribution.leave_one_out(asked(lactate=[(3, 1.0), (2, 4.0), (1, 9.0)]), ["lactate"])
    told = attribution.effects(risk(0.5), left, [risk(0.45), risk(None), risk(0.7)])

    assert [(effect.value, effect.change) for effect in told] == [(1.0, -0.2), (9.0, 0.05)]


def test_a_risk_may_answer_only_what_holds_the_values_that_it_names() -> None:
    """Age and sex are inputs too, and no observables."""
    request = asked(lactate=[(1, 9.0)]).request
    named = [Contribution("lactate", "Lactate 9", 0.1, 9.0), Contribution("age", "age 70", 0.1, 70.0), Contribution("sex", "female", 0.01)]

    assert attribution.may_answer(risk(0.5, *named), request)
    assert not attribution.may_answer(risk(0.5, Contribution("lactate", "Lactate 8", 0.1, 8.0)), request)
    assert not attribution.may_answer(risk(0.5, Contribution("gcs", "GCS 13", 0.1, 13.0)), request)
    assert attribution.moving(risk(0.5, *named)) == ["lactate"]
