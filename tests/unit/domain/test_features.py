"""What the model sees is a bounded, deterministic reading of the window."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from pipeline.domain import features
from pipeline.domain.catalogue import BY_NAME, KEEP
from pipeline.domain.history import Tally
from pipeline.domain.readings import Reading
from schemas.assessments import Features

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)


def series(*values: float, newest_h: float = 1.0, step_h: float = 1.0) -> list[Reading]:
    """Readings an hour apart, the last one `newest_h` before AS_OF."""
    count = len(values)
    return [Reading(AS_OF - timedelta(hours=newest_h + (count - 1 - i) * step_h), value) for i, value in enumerate(values)]


def test_the_numbers_of_an_observable() -> None:
    """Of the retained values, when nothing came before them."""
    seen = features.extract({"potassium": series(4.0, 6.8, 5.0)}, AS_OF, 71.0, "F").values

    assert seen == {
        "potassium.last": 5.0,
        "potassium.age_h": 1.0,
        "potassium.delta": 1.0,
        "potassium.span_h": 2.0,
        "potassium.min": 4.0,
        "potassium.max": 6.8,
        "potassium.mean": 5.2667,
        "potassium.count": 3,
        "potassium.sd": 1.1585,
        "potassium.slope": 0.5,
    }


def test_tallies_count_with_their_weight() -> None:
    """Ten values of a half day before: extremes, mean and count are of all twelve, the change of the retained alone."""
    before = Tally(AS_OF - timedelta(hours=20), 10, 3.0, 2.0, 6.0)
    seen = features.extract({"potassium": series(4.0, 5.0)}, AS_OF, 71.0, "F", {"potassium": [before]}).values

    assert (seen["potassium.min"], seen["potassium.max"], seen["potassium.count"]) == (2.0, 6.0, 12)
    assert (seen["potassium.mean"], seen["potassium.delta"], seen["potassium.earlier"]) == (3.25, 1.0, 3.0)
    assert seen["potassium.slope"] > 0


def test_a_single_value_has_no_history() -> None:
    """One value gives its size and age only: a change cannot be told from it."""
    assert features.extract({"lactate": series(2.5)}, AS_OF, None, "U").values == {"lactate.last": 2.5, "lactate.age_h": 1.0}


def test_absent_inputs_are_absent() -> None:
    """Nothing is imputed: an empty window gives no values, a NaN vector and no coverage."""
    seen = features.extract({}, AS_OF, None, "U")

    assert seen == Features()
    assert np.isnan(features.vector(seen)).all()
    assert features.coverage(seen) == 0


@pytest.mark.parametrize("name", ["heart_rate", "potassium"])
def test_only_what_a_window_keeps(name: str) -> None:
    """A longer history than the window keeps gives the same features: training and service see the same."""
    values = [60.0 + i for i in range(20)]
    kept = values[-KEEP:]

    assert features.extract({name: series(*values)}, AS_OF, 50, "M") == features.extract({name: series(*kept)}, AS_OF, 50, "M")


def test_too_old_or_from_the_future() -> None:
    """Readings older than seven days and after `as_of` do not count."""
    readings = {"sodium": [*series(130.0, newest_h=24 * 7.1), *series(140.0), *series(150.0, newest_h=-1)]}

    assert features.extract(readings, AS_OF, None, "U").values["sodium.last"] == 140.0


def test_unknown_observables_are_passed_over() -> None:
    """An observable that no model was trained on is not among the features."""
    assert features.extract({"d_dimer": series(3.0)}, AS_OF, None, "U").values == {}


def test_the_vector_has_a_fixed_order() -> None:
    """Each name has its own place, age and sex the last two; unknown names are passed over."""
    row = features.vector(Features(values={"ph.last": 7.1, "new.last": 9.0}, age=80.0, sex="F"))

    assert row.dtype == np.float32
    assert {features.NAMES[i]: round(float(row[i]), 3) for i in np.flatnonzero(~np.isnan(row))} == {"ph.last": 7.1, "age": 80.0, "sex": 1.0}


def test_the_layout_is_pinned() -> None:
    """Any change to the names or their order needs a new LAYOUT_VERSION, or shipped weights would read the wrong columns."""
    digest = hashlib.sha256("\n".join(features.NAMES).encode()).hexdigest()[:16]

    assert (features.LAYOUT_VERSION, len(features.NAMES), digest) == (2, 365, "cf28b9f3d99930c5")


def test_a_full_patient_is_a_small_record() -> None:
    """All observables present and complete stay under 10 KiB in the record."""
    readings = {name: series(*[(BY_NAME[name].low + BY_NAME[name].high) / 3.7] * 8) for name in features.OBSERVABLES}
    before = {name: [Tally(AS_OF - timedelta(hours=20), 11, series[0].value / 7, 1.0, 2.0)] for name, series in readings.items()}
    seen = features.extract(readings, AS_OF, 66.0, "M", before)

    assert features.coverage(seen) == 1
    assert len(msgspec.json.encode(seen)) < 10 * 1024
