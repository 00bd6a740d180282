"""Stays as rows of features, by the live `extract` and tallies, at the end of each record and at random earlier moments."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import features, history
from pipeline.domain.catalogue import KEEP
from pipeline.domain.history import Tally
from pipeline.domain.readings import Reading
from pipeline.models.clinical.physionet import ADMISSION, STAY, Stay
from schemas.assessments import Features

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows for training or testing. x: [n, len(features.NAMES)], NaN = absent; died, stay (index of the row's stay), hours: [n]."""

    x: Matrix
    died: NDArray[np.bool_]
    stay: NDArray[np.int64]
    hours: Matrix

    @property
    def at_end(self) -> NDArray[np.bool_]:
        """[n]: which rows are at 48 h."""
        whole: NDArray[np.bool_] = self.hours >= STAY.total_seconds() / 3600
        return whole


def at_end(stays: Sequence[Stay]) -> Examples:
    """One row a stay, at 48 h."""
    return at_hours(stays, STAY.total_seconds() / 3600)


def at_hours(stays: Sequence[Stay], hours: float) -> Examples:
    """One row a stay, so many hours after admission."""
    return _examples(stays, ([hours] for _ in stays))


def at_random_times(stays: Sequence[Stay], cuts: int, seed: int) -> Examples:
    """The row at 48 h and `cuts` more for each stay, early ones oftener than late ones, so that the model knows short histories too."""
    rng = np.random.default_rng(seed)
    return _examples(stays, ([48.0, *np.exp(rng.uniform(np.log(1.0), np.log(48.0), cuts))] for _ in stays))


def _examples(stays: Sequence[Stay], times: Iterable[Iterable[float]]) -> Examples:
    cuts = [(index, stay, hours) for index, (stay, moments) in enumerate(zip(stays, times, strict=True)) for hours in moments]
    return Examples(
        x=features.matrix([_features(stay, hours) for _, stay, hours in cuts]),
        died=np.array([stay.died for _, stay, _ in cuts]),
        stay=np.array([index for index, _, _ in cuts]),
        hours=np.array([hours for *_, hours in cuts], dtype=np.float32),
    )


def _features(stay: Stay, hours: float) -> Features:
    kept, tallies = window(stay, hours)
    return features.extract(kept, moment(hours), stay.age, stay.sex, tallies)


def moment(hours: float) -> datetime:
    """So many hours after admission."""
    return ADMISSION + timedelta(hours=hours)


def window(stay: Stay, hours: float) -> tuple[dict[str, list[Reading]], dict[str, list[Tally]]]:
    """What the live window would hold of the stay, admitted at an hour of the day of its own: half days begin at midnight and at noon."""
    as_of, clock = moment(hours), timedelta(hours=stay.record % 24)
    kept: dict[str, list[Reading]] = {}
    tallies: dict[str, list[Tally]] = {}
    for name, series in stay.readings.items():
        known = series[: bisect_right(series, as_of, key=_time)]
        kept[name] = known[-KEEP:]
        if past := history.of((reading.at + clock, reading.value) for reading in known[:-KEEP]):
            tallies[name] = [msgspec.structs.replace(tally, middle=tally.middle - clock) for tally in past.tallies(as_of + clock)]
    return kept, tallies


_time = attrgetter("at")
